"""Started by Python itself in every child (PYTHONPATH holds it as sitecustomize): no socket may leave the machine.

Whatever tries is written to the file named by PHONE_LOG, and refused.
"""

import os
import sys

_LOOPBACK = ("127.0.0.1", "::1", "localhost", "", None)
_ASKING = {"socket.getaddrinfo": 0, "socket.gethostbyname": 0, "socket.connect": 1, "socket.sendto": 1}
_CONNECTING = ("socket.connect", "socket.sendto")


def _refuse_strangers(event, arguments):
    if event not in _ASKING:
        return
    target = arguments[_ASKING[event]]
    if event in _CONNECTING:
        # a path is a UNIX socket, which stays on this machine
        if not isinstance(target, tuple):
            return
        target = target[0]
    if target in _LOOPBACK:
        return
    with open(os.environ["PHONE_LOG"], "a") as log:  # noqa: PTH123 - as early and as light as can be
        log.write(f"{event} {target}\n")
    raise OSError(f"{event} {target}: this box phones nobody")


sys.addaudithook(_refuse_strangers)
