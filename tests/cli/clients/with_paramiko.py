"""Logs in as programs with paramiko do: CONFIG HOST. Prints the instance's id, and what came back by SFTP."""

import logging
import sys

import paramiko

# Where paramiko says what the server's SSH_MSG_DISCONNECT said.
logging.basicConfig(level=logging.INFO)
config, host = sys.argv[1:]
found = paramiko.SSHConfig.from_path(config).lookup(host)
with paramiko.SSHClient() as client:
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect(
        found["hostname"],
        port=int(found["port"]),
        username=found["user"],
        key_filename=found["identityfile"],
        sock=paramiko.ProxyCommand(found["proxycommand"]),
        allow_agent=False,
        look_for_keys=False,
        banner_timeout=60,
    )
    print(client.exec_command("echo $SSH_EIC_INSTANCE")[1].read().decode(), end="")
    with client.open_sftp() as sftp:
        with sftp.open("a-file", "w") as there:
            there.write("there and back\n")
        sftp.get("a-file", "back")
    print(open("back").read(), end="")
