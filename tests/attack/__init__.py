"""Attack on the delivery guarantees from outside: own sensors, proxy, subscriber and judge, over sockets.

Of the package only what a user has is used: the command that runs the service, its settings, its state file.
"""
