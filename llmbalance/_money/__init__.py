"""What a call costs, what may be spent, what is kept of it.

rates    _prices, a table of them: its rows _price_rows, those of others _price_sources
costs    _cost: what a call used and what that came to
budgets  _windows: when they begin anew, _alerts: who hears that one runs low
ledger   _ledger: every attempt as an entry, _ledger_file: on disk
"""
