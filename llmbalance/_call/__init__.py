"""One call on its way, down and back.

read    _intake: whose call it is, _options: all it asks for   _routing _parameters
aimed   _run is the call; its _aim finds a backend by a _walk through the groups,
        or it waits in _line; _lease is this for a client of one's own
sent    _drive: attempt by attempt, _race: two at once   _hedge _retries _embed _count
        _stream: what comes in pieces, by the steps of _tell
        _transport: the engine seen from Python          _environment
told    _story: to books, events and experiments         _decision
tidied  _shape: what becomes of an answer's text         _steps
"""
