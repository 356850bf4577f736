"""What a router has spent and how it stands, while it runs and afterwards.

_books    the money of a running router: to budgets, to the ledger, and back
_costs    what was spent, and what it would have been elsewhere
_reports  how the backends are doing
"""
