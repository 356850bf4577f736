"""A whole router in one file: read, checked at once, followed while running.

_places  a TOML or YAML file and the line of every key
_schema  which tables and keys there are, for us and for editors
_tables  a table -> one setting, faults collected
_load    the file -> a Router's arguments       _inherit  what [defaults] say
_check   all faults at once, or the fleet       _reference  the page of all keys
_reload  a running router takes a newer one over: limits and budgets
         (_amounts), experiments (_trials _arms)
_follow  when it does so by itself: files looked at, signals
"""
