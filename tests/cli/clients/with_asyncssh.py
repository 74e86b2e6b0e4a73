"""Logs in as programs with asyncssh do: CONFIG HOST [strict] [USER]. Prints the instance's id, and what came back by SFTP."""

import asyncio
import sys

import asyncssh

config, host, *rest = sys.argv[1:]
options = {} if "strict" in rest else {"known_hosts": None}
options.update({"username": user for user in rest if user != "strict"})


async def main():
    async with asyncssh.connect(host, config=[config], **options) as connection:
        print((await connection.run("echo $SSH_EIC_INSTANCE", check=True)).stdout, end="")
        async with connection.start_sftp_client() as sftp:
            async with sftp.open("a-file", "w") as there:
                await there.write("there and back\n")
            await sftp.get("a-file", "back")
        print(open("back").read(), end="")


asyncio.run(main())
