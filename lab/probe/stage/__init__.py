"""The throw-away process of one stage: it maps the module, does what the stage is about, and says what it sees.

    python -m lab.probe.stage      order on stdin (JSON), events on descriptor 3

It may crash or hang in the module's code; the coordinator, which never maps one, goes on to the next stage.
"""
