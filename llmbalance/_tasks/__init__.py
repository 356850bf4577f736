"""What a call is for.

_task      what a kind of call wants: a group, a strategy, limits of cost and time
_rules     how a prompt tells its task            _patterns  what rules look for
_sessions  which conversation a call belongs to
"""
