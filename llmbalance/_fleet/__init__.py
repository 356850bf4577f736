"""Who can be called, by which names and on which terms.

_fleet      all of them, numbered for the core    _pool _names _terms _prices
_groups     several under one name                _hedge _line _retries
_target     one, as a call sees it                _shape _parameters _environment
_join _kin  who comes and goes; who shares an account or a limit
_wildcards  names that are made when they are asked for
_health _watch  who answers, asked without paying
_tokens     what a prompt measures
"""
