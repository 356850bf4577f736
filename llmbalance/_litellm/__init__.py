"""Configurations and calls in LiteLLM's words, in ours.

_sheet   the files, with the line of every key
_names   prefixes, strategies and keys, word for word
_unread  keys without effect here, and why
_rows    model_list -> Backend, _row_figures      _routes  fallbacks, aliases, orders
_terms   prices, time-outs     _fails   allowed failures, cooldowns
_retries numbers of attempts   _sets    routing_groups
_own     what groups and calls have of their own              _budgets  money
_plan    all of it -> a Router's arguments
_call    completion(...)'s parameters -> a call's options
"""
