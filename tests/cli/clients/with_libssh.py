"""Logs in as programs with libssh do: HOST [CONFIG]. Prints the instance's id. Without CONFIG libssh reads ~/.ssh/config.

By ctypes, since the shared library is what a distribution's package installs.
"""

import ctypes
import sys

lib = ctypes.CDLL("libssh.so.4")
for name in ("ssh_new", "ssh_channel_new", "ssh_get_error"):
    getattr(lib, name).restype = ctypes.c_void_p
lib.ssh_get_error.restype = ctypes.c_char_p

# Of libssh.h.
SSH_OPTIONS_HOST = 0
SSH_AUTH_SUCCESS = 0
SSH_KNOWN_HOSTS_OK = 1
SSH_KNOWN_HOSTS_STATES = {-2: "error", -1: "no file", 0: "unknown", 1: "known", 2: "changed", 3: "other type"}

host, config = sys.argv[1].encode(), sys.argv[2].encode() if len(sys.argv) > 2 else None
session = ctypes.c_void_p(lib.ssh_new())


def check(what, result, expected=0):
    if result != expected:
        sys.exit(f"{what}: {result} {lib.ssh_get_error(session).decode(errors='replace')}")


check("host", lib.ssh_options_set(session, SSH_OPTIONS_HOST, host))
check("config", lib.ssh_options_parse_config(session, config))
check("connect", lib.ssh_connect(session))
state = lib.ssh_session_is_known_server(session)
print("host key:", SSH_KNOWN_HOSTS_STATES[state], file=sys.stderr)
check("login", lib.ssh_userauth_publickey_auto(session, None, None), SSH_AUTH_SUCCESS)
channel = ctypes.c_void_p(lib.ssh_channel_new(session))
check("channel", lib.ssh_channel_open_session(channel))
check("command", lib.ssh_channel_request_exec(channel, b"echo $SSH_EIC_INSTANCE"))
buffer = ctypes.create_string_buffer(4096)
length = lib.ssh_channel_read(channel, buffer, len(buffer), 0)
print(buffer.raw[:length].decode(), end="")
lib.ssh_disconnect(session)
