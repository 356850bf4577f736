"""One call on its way, down and back.

read    _options: all it asks for                        _routing
aimed   _run is the call; its _aim finds a backend by a _walk through the groups;
        _lease is this for a client of one's own
sent    _drive: attempt by attempt, _race: two at once   _embed _count
        _stream: what comes in pieces, by the steps of _tell
told    _story: to books, events and experiments         _decision
"""
