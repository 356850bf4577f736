"""Configurations and calls in LiteLLM's words, in ours.

_sheet   the files, with the line of every key
_names   prefixes, strategies and settings, word for word
_rows    model_list -> Backend          _routes  fallbacks, aliases, orders
_terms   prices, time-outs, cooldowns   _retries numbers of attempts
_own     what groups and calls have of their own              _budgets  money
_plan    all of it -> a Router's arguments
_call    completion(...)'s parameters -> a call's options
"""
