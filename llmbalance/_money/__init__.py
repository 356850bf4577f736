"""What a call costs, what may be spent, what was.

rates    _price, as printed (_price_rows), as found (_price_sources); _cost of a call
budgets  _windows: when they begin anew, _alerts: who hears that one runs low
books    _books: a router's money while it runs, _ledger_file: what stays on disk
reports  _costs _reports
"""
