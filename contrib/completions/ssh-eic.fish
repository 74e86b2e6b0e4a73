# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_ssh_eic_global_optspecs
    string join \n config= v/verbose q/quiet h/help V/version
end

function __fish_ssh_eic_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_ssh_eic_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_ssh_eic_using_subcommand
    set -l cmd (__fish_ssh_eic_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c ssh-eic -n "__fish_ssh_eic_needs_command" -l config -d 'Use this config file instead of ~/.config/ssh-eic/config.toml' -r -F
complete -c ssh-eic -n "__fish_ssh_eic_needs_command" -s v -l verbose -d 'Print more details; twice: also times'
complete -c ssh-eic -n "__fish_ssh_eic_needs_command" -s q -l quiet -d 'Print errors only'
complete -c ssh-eic -n "__fish_ssh_eic_needs_command" -s h -l help -d 'Print help'
complete -c ssh-eic -n "__fish_ssh_eic_needs_command" -s V -l version -d 'Print version'
complete -c ssh-eic -n "__fish_ssh_eic_needs_command" -f -a "init" -d 'Write a first config file, set up ~/.ssh/config, and sync'
complete -c ssh-eic -n "__fish_ssh_eic_needs_command" -f -a "sync" -d 'Find instances and rewrite the ssh config for them'
complete -c ssh-eic -n "__fish_ssh_eic_needs_command" -f -a "list" -d 'Show the managed hosts'
complete -c ssh-eic -n "__fish_ssh_eic_needs_command" -f -a "config" -d 'Check config.toml, or show where it is'
complete -c ssh-eic -n "__fish_ssh_eic_needs_command" -f -a "doctor" -d 'Find out why a connection fails, and what to do about it'
complete -c ssh-eic -n "__fish_ssh_eic_needs_command" -f -a "push" -d 'Push a key to an instance by hand, for scripts'
complete -c ssh-eic -n "__fish_ssh_eic_needs_command" -f -a "inventory" -d 'Print the managed hosts as a dynamic inventory for Ansible'
complete -c ssh-eic -n "__fish_ssh_eic_needs_command" -f -a "policy" -d 'Print the least-privilege IAM policy that the config needs'
complete -c ssh-eic -n "__fish_ssh_eic_needs_command" -f -a "logout" -d 'Delete the temporary credentials and keys that are kept between connections'
complete -c ssh-eic -n "__fish_ssh_eic_needs_command" -f -a "remove" -d 'Remove everything that ssh-eic wrote; ~/.ssh/config is as it was before'
complete -c ssh-eic -n "__fish_ssh_eic_needs_command" -f -a "generate" -d 'Print man pages or shell completions'
complete -c ssh-eic -n "__fish_ssh_eic_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand init" -l profile -d 'AWS profile to find instances with' -r -f -a "(ssh-eic values profiles 2>/dev/null)"
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand init" -l region -d 'AWS region to look in; may be given several times' -r -f -a "(ssh-eic values regions 2>/dev/null)"
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand init" -l tag -d 'Only instances with this tag; may be given several times' -r
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand init" -l sso-session -d 'IAM Identity Center session of ~/.aws/config: all accounts in which you hold the role' -r -f -a "(ssh-eic values sso-sessions 2>/dev/null)"
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand init" -l role -d 'Role (permission set) for --sso-session; may be given several times, the first one held counts' -r
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand init" -l config -d 'Use this config file instead of ~/.config/ssh-eic/config.toml' -r -F
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand init" -s v -l verbose -d 'Print more details; twice: also times'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand init" -s q -l quiet -d 'Print errors only'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand init" -s h -l help -d 'Print help'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand sync" -l source -d 'Query only this source; may be given several times' -r -f -a "(ssh-eic values sources 2>/dev/null)"
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand sync" -l if-older-than -d 'Do nothing if the last complete sync is younger, such as 10m' -r
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand sync" -l diff -d 'Show which hosts would change (=text: the files as a unified diff), write nothing; exit 1 if there is a difference' -r -f -a "hosts\t'Added, removed, renamed and changed hosts'
text\t'The files as a unified diff'"
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand sync" -l output -d 'Write one self-contained file for `ssh -F`, paramiko or asyncssh, and change no other file; - is stdout' -r -F
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand sync" -l config -d 'Use this config file instead of ~/.config/ssh-eic/config.toml' -r -F
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand sync" -l accept-moves -d 'Allow names to move to instances of other accounts, and to earlier sources'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand sync" -s v -l verbose -d 'Print more details; twice: also times'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand sync" -s q -l quiet -d 'Print errors only'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand sync" -s h -l help -d 'Print help'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand list" -l state -d 'Only hosts in this state, such as running; may be given several times' -r
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand list" -l tag -d 'Only hosts with this tag; * and ? are wildcards in the value; may be given several times' -r
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand list" -l source -d 'Only hosts of this source; may be given several times' -r -f -a "(ssh-eic values sources 2>/dev/null)"
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand list" -l columns -d 'Columns of the table, separated by commas, such as host,state,tag:Team' -r
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand list" -l config -d 'Use this config file instead of ~/.config/ssh-eic/config.toml' -r -F
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand list" -l live -d 'Query AWS instead of the index; nothing is written'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand list" -l json -d 'Print JSON'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand list" -l names -d 'Print names only, one a line'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand list" -s v -l verbose -d 'Print more details; twice: also times'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand list" -s q -l quiet -d 'Print errors only'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand list" -s h -l help -d 'Print help'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand config; and not __fish_seen_subcommand_from check path help" -l config -d 'Use this config file instead of ~/.config/ssh-eic/config.toml' -r -F
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand config; and not __fish_seen_subcommand_from check path help" -s v -l verbose -d 'Print more details; twice: also times'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand config; and not __fish_seen_subcommand_from check path help" -s q -l quiet -d 'Print errors only'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand config; and not __fish_seen_subcommand_from check path help" -s h -l help -d 'Print help'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand config; and not __fish_seen_subcommand_from check path help" -f -a "check" -d 'Check config.toml without querying AWS: keys, values, ssh options, AWS profiles, names of regions'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand config; and not __fish_seen_subcommand_from check path help" -f -a "path" -d 'Print the config files in the order in which they are read, and whether they exist'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand config; and not __fish_seen_subcommand_from check path help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand config; and __fish_seen_subcommand_from check" -l config -d 'Use this config file instead of ~/.config/ssh-eic/config.toml' -r -F
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand config; and __fish_seen_subcommand_from check" -s v -l verbose -d 'Print more details; twice: also times'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand config; and __fish_seen_subcommand_from check" -s q -l quiet -d 'Print errors only'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand config; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand config; and __fish_seen_subcommand_from path" -l config -d 'Use this config file instead of ~/.config/ssh-eic/config.toml' -r -F
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand config; and __fish_seen_subcommand_from path" -s v -l verbose -d 'Print more details; twice: also times'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand config; and __fish_seen_subcommand_from path" -s q -l quiet -d 'Print errors only'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand config; and __fish_seen_subcommand_from path" -s h -l help -d 'Print help'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "check" -d 'Check config.toml without querying AWS: keys, values, ssh options, AWS profiles, names of regions'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "path" -d 'Print the config files in the order in which they are read, and whether they exist'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand doctor" -l valid-for -d 'Also whether the credentials will last that long, such as 2h' -r
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand doctor" -l config -d 'Use this config file instead of ~/.config/ssh-eic/config.toml' -r -F
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand doctor" -l json -d 'Print JSON'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand doctor" -s v -l verbose -d 'Print more details; twice: also times'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand doctor" -s q -l quiet -d 'Print errors only'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand push" -l user -d 'The user on the instance [default: the host\'s]' -r
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand push" -l public-key -d 'Your own public key, Ed25519 or RSA, instead of the one that connections use; - is stdin' -r -F
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand push" -l config -d 'Use this config file instead of ~/.config/ssh-eic/config.toml' -r -F
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand push" -l json -d 'Print JSON'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand push" -s v -l verbose -d 'Print more details; twice: also times'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand push" -s q -l quiet -d 'Print errors only'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand push" -s h -l help -d 'Print help'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand inventory" -l host -d 'Print the variables of one host: its name, a further name or its id' -r -f -a "(ssh-eic list --names 2>/dev/null)"
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand inventory" -l config -d 'Use this config file instead of ~/.config/ssh-eic/config.toml' -r -F
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand inventory" -l list -d 'Print all groups, and the variables of all hosts'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand inventory" -l all-states -d 'Also the hosts that are not running'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand inventory" -l self-contained -d 'Give each host all that ssh needs, for containers without our ssh config'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand inventory" -s v -l verbose -d 'Print more details; twice: also times'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand inventory" -s q -l quiet -d 'Print errors only'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand inventory" -s h -l help -d 'Print help'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand policy" -l account -d 'Only what this account needs; may be given several times' -r -f -a "(ssh-eic values accounts 2>/dev/null)"
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand policy" -l source-ip -d 'Only from this network; may be given several times' -r
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand policy" -l source-vpce -d 'Only through this interface endpoint; may be given several times' -r
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand policy" -l config -d 'Use this config file instead of ~/.config/ssh-eic/config.toml' -r -F
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand policy" -s v -l verbose -d 'Print more details; twice: also times'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand policy" -s q -l quiet -d 'Print errors only'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand policy" -s h -l help -d 'Print help'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand logout" -l config -d 'Use this config file instead of ~/.config/ssh-eic/config.toml' -r -F
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand logout" -s v -l verbose -d 'Print more details; twice: also times'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand logout" -s q -l quiet -d 'Print errors only'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand logout" -s h -l help -d 'Print help'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand remove" -l config -d 'Use this config file instead of ~/.config/ssh-eic/config.toml' -r -F
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand remove" -l all -d 'Also remove the config file and the push log'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand remove" -s v -l verbose -d 'Print more details; twice: also times'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand remove" -s q -l quiet -d 'Print errors only'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand remove" -s h -l help -d 'Print help'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand generate; and not __fish_seen_subcommand_from man completions help" -l config -d 'Use this config file instead of ~/.config/ssh-eic/config.toml' -r -F
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand generate; and not __fish_seen_subcommand_from man completions help" -s v -l verbose -d 'Print more details; twice: also times'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand generate; and not __fish_seen_subcommand_from man completions help" -s q -l quiet -d 'Print errors only'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand generate; and not __fish_seen_subcommand_from man completions help" -s h -l help -d 'Print help'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand generate; and not __fish_seen_subcommand_from man completions help" -f -a "man" -d 'A man page'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand generate; and not __fish_seen_subcommand_from man completions help" -f -a "completions" -d 'Completions for a shell'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand generate; and not __fish_seen_subcommand_from man completions help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand generate; and __fish_seen_subcommand_from man" -l config -d 'Use this config file instead of ~/.config/ssh-eic/config.toml' -r -F
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand generate; and __fish_seen_subcommand_from man" -s v -l verbose -d 'Print more details; twice: also times'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand generate; and __fish_seen_subcommand_from man" -s q -l quiet -d 'Print errors only'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand generate; and __fish_seen_subcommand_from man" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand generate; and __fish_seen_subcommand_from completions" -l config -d 'Use this config file instead of ~/.config/ssh-eic/config.toml' -r -F
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand generate; and __fish_seen_subcommand_from completions" -s v -l verbose -d 'Print more details; twice: also times'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand generate; and __fish_seen_subcommand_from completions" -s q -l quiet -d 'Print errors only'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand generate; and __fish_seen_subcommand_from completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand generate; and __fish_seen_subcommand_from help" -f -a "man" -d 'A man page'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand generate; and __fish_seen_subcommand_from help" -f -a "completions" -d 'Completions for a shell'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand generate; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand help; and not __fish_seen_subcommand_from init sync list config doctor push inventory policy logout remove generate help" -f -a "init" -d 'Write a first config file, set up ~/.ssh/config, and sync'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand help; and not __fish_seen_subcommand_from init sync list config doctor push inventory policy logout remove generate help" -f -a "sync" -d 'Find instances and rewrite the ssh config for them'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand help; and not __fish_seen_subcommand_from init sync list config doctor push inventory policy logout remove generate help" -f -a "list" -d 'Show the managed hosts'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand help; and not __fish_seen_subcommand_from init sync list config doctor push inventory policy logout remove generate help" -f -a "config" -d 'Check config.toml, or show where it is'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand help; and not __fish_seen_subcommand_from init sync list config doctor push inventory policy logout remove generate help" -f -a "doctor" -d 'Find out why a connection fails, and what to do about it'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand help; and not __fish_seen_subcommand_from init sync list config doctor push inventory policy logout remove generate help" -f -a "push" -d 'Push a key to an instance by hand, for scripts'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand help; and not __fish_seen_subcommand_from init sync list config doctor push inventory policy logout remove generate help" -f -a "inventory" -d 'Print the managed hosts as a dynamic inventory for Ansible'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand help; and not __fish_seen_subcommand_from init sync list config doctor push inventory policy logout remove generate help" -f -a "policy" -d 'Print the least-privilege IAM policy that the config needs'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand help; and not __fish_seen_subcommand_from init sync list config doctor push inventory policy logout remove generate help" -f -a "logout" -d 'Delete the temporary credentials and keys that are kept between connections'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand help; and not __fish_seen_subcommand_from init sync list config doctor push inventory policy logout remove generate help" -f -a "remove" -d 'Remove everything that ssh-eic wrote; ~/.ssh/config is as it was before'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand help; and not __fish_seen_subcommand_from init sync list config doctor push inventory policy logout remove generate help" -f -a "generate" -d 'Print man pages or shell completions'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand help; and not __fish_seen_subcommand_from init sync list config doctor push inventory policy logout remove generate help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "check" -d 'Check config.toml without querying AWS: keys, values, ssh options, AWS profiles, names of regions'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "path" -d 'Print the config files in the order in which they are read, and whether they exist'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand help; and __fish_seen_subcommand_from generate" -f -a "man" -d 'A man page'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand help; and __fish_seen_subcommand_from generate" -f -a "completions" -d 'Completions for a shell'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand list" -f -a "(ssh-eic list --names 2>/dev/null)" -d 'Managed host'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand doctor" -f -a "(ssh-eic list --names 2>/dev/null)" -d 'Managed host'
complete -c ssh-eic -n "__fish_ssh_eic_using_subcommand push" -f -a "(ssh-eic list --names 2>/dev/null)" -d 'Managed host'
