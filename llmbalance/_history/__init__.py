"""What earlier calls let expect of later ones.

_series   times of day, trend, noise   _history  a ledger, as such series
_study    what they say of a fleet     _outlook  told to a running router's core
"""
