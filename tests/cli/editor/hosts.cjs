// The hosts that an editor offers: CONFIG. As Remote-SSH lists them: the file and those that it includes, each parsed by
// itself; every Host without a wildcard that says something of its own. JSON: host -> HostName, User, Port, ProxyCommand.
'use strict';

const fs = require('fs');
const os = require('os');
const path = require('path');
const { default: SSHConfig, LineType } = require('ssh-config');

const words = (value) => (Array.isArray(value) ? value.map(({ val }) => val) : [value]);

// The directives of a file with those of its Includes in their place.
function read(file) {
  return SSHConfig.parse(fs.readFileSync(file, 'utf8')).flatMap((line) => {
    if (line.type !== LineType.DIRECTIVE) return [];
    if (!/^include$/i.test(line.param)) return [line];
    return words(line.value)
      .map((name) => path.resolve(os.homedir(), '.ssh', name.replace(/^~/, os.homedir())))
      .filter((name) => fs.existsSync(name))
      .flatMap(read);
  });
}

const lines = read(process.argv[2]);
const whole = new SSHConfig();
whole.push(...lines);
const hosts = {};
for (const line of lines.filter(({ param, config }) => /^host$/i.test(param) && config.some((own) => own.param))) {
  for (const name of words(line.value).filter((word) => !/[*?!]/.test(word))) {
    // An editor that lists hosts runs nothing.
    const { HostName, User, Port, ProxyCommand } = whole.compute(name, { matchExec: false });
    hosts[name] = { HostName, User, Port, ProxyCommand };
  }
}
console.log(JSON.stringify(hosts));
