# apptoken in fish. Made by tests/completions.rs
# What stands before the cursor: the command of ours, and from where on another program completes.
function __apptoken_read
    set -g __apptoken_verb
    set -g __apptoken_rest
    set -l words (commandline -opc)
    set -l value
    for i in (seq 2 (count $words))
        set -l word $words[$i]
        if set -q value[1]
            set -e value[1]
            continue
        end
        switch $word
            case --app --host --owner --repo --installation-id --permissions --min-ttl --app-id --name --api-url --passphrase-fd -t --env
                set value $word
            case '-*'
            case '*'
                if contains -- "$__apptoken_verb" run; or contains -- $word gh git
                    set -g __apptoken_rest $words[$i..]
                    return
                end
                set -q __apptoken_verb[1]; or set -g __apptoken_verb $word
        end
    end
end
function __apptoken_at
    __apptoken_read
    not set -q __apptoken_rest[1]; and contains -- "$__apptoken_verb" $argv
end
function __apptoken_begun
    __apptoken_read
    set -q __apptoken_rest[1]
end
function __apptoken_other
    __apptoken_read
    complete --do-complete="$(string join ' ' -- (string escape -- $__apptoken_rest) (commandline -ct))"
end
# A completion after one of these commands; after "" is before any.
function __apptoken_add
    complete -c apptoken -n "__apptoken_at $argv[1]" $argv[2..]
end
complete -c apptoken -f
__apptoken_add '""' -a init -d 'Set up: store an App\'s key, encrypted, for the agent to load'
__apptoken_add '""' -a add -d 'Load keys into the agent: from files, else those that `init` stored'
__apptoken_add '""' -a list -d 'List the keys that the agent holds'
__apptoken_add '""' -a remove -d 'Remove keys from the agent'
__apptoken_add '""' -a lock -d 'Lock the agent: encrypt every key under a passphrase'
__apptoken_add '""' -a unlock -d 'Unlock the agent'
__apptoken_add '""' -a token -d 'Print an installation token'
__apptoken_add '""' -a revoke -d 'Revoke tokens that the agent handed out'
__apptoken_add '""' -a gh -d 'Run gh with a token'
__apptoken_add '""' -a git -d 'Run git with this program as its credential helper, and by https where a remote says ssh'
__apptoken_add '""' -a credential -d 'Be git\'s credential helper'
__apptoken_add '""' -a setup-git -d 'Make git ask this program for credentials'
__apptoken_add '""' -a run -d 'Run a command with a token where gh looks for one: GH_TOKEN, GITHUB_TOKEN'
__apptoken_add '""' -a whoami -d 'Show who the App is: its bot\'s name, number and e-mail address for commits'
__apptoken_add '""' -a installations -d 'List where the App is installed'
__apptoken_add '""' -a daemon -d 'Start the agent and load the stored keys, stop it, or tell whether it runs'
__apptoken_add '""' -a status -d 'Show the agent, its keys and its cached tokens'
__apptoken_add '""' -a doctor -d 'Check one thing after another, from the agent to GitHub and git, and name the first that is wrong'
__apptoken_add '""' -a completions -d 'Print what has a shell complete the words of both programs'
__apptoken_add '""' -a man -d 'Print a manual page, in roff'
__apptoken_add '""' -a help -d 'Tell about a command or a topic'
__apptoken_add '"" token doctor' -l app -xa '(command apptoken words keys 2>/dev/null)' -d 'The key: its name, fingerprint, App ID, client ID or slug'
__apptoken_add '"" token setup-git doctor' -l host -xa '(command apptoken words hosts 2>/dev/null)' -d 'The host'
__apptoken_add '"" token doctor' -l owner -xa '(command apptoken words owners 2>/dev/null)' -d 'The account whose installation to use'
__apptoken_add '"" token doctor' -l repo -xa '(command apptoken words repos 2>/dev/null)' -d 'The repository to use, and narrow the token to'
__apptoken_add '"" token doctor' -l installation-id -x -d 'The installation to use'
__apptoken_add '"" token doctor' -l permissions -x -d 'Narrow the token, such as contents=read,issues=write'
__apptoken_add '"" token doctor' -l min-ttl -x -d 'How long the token must live at least, such as 30m'
__apptoken_add '"" token doctor' -l no-start -d 'Start no agent, and load no stored key, when one is missing'
__apptoken_add '"" init add list remove lock unlock token revoke credential setup-git run whoami installations daemon status doctor completions man help' -s h -l help -d 'Print help'
__apptoken_add '""' -s V -l version -d 'Print version'
__apptoken_add 'init add' -l app-id -x -d 'The App\'s number, or its client ID'
__apptoken_add 'init add' -l name -x -d 'What to call the key'
__apptoken_add 'init add' -l host -xa '(command apptoken words hosts 2>/dev/null)' -d 'The host the App lives on'
__apptoken_add 'init add' -l api-url -x -d 'The REST API\'s base'
__apptoken_add 'init add' -l installation-id -x -d 'The installation to use when nothing else chooses one'
__apptoken_add 'init' -l passphrase-fd -x -d 'Read the passphrase to store the key under from this open file; a FILE that is encrypted must open with it too'
__apptoken_add 'init add' -l offline -d 'Do not check key and App against GitHub'
__apptoken_add 'init' -l replace -d 'Replace a stored key of that name'
__apptoken_add 'init' -l remove-file -d 'Remove FILE when its key is stored'
__apptoken_add 'add' -s t -x -d 'Forget the key after this long: 90, 45m, 1h30m, 2d, 1w'
__apptoken_add 'add' -s c -d 'Have each use of the key confirmed'
__apptoken_add 'add lock unlock daemon' -l passphrase-fd -x -d 'Read the passphrase from this open file descriptor, up to the end of the line'
__apptoken_add 'list whoami installations status doctor' -l json -d 'Print JSON'
__apptoken_add 'remove' -l all -d 'Remove every key'
__apptoken_add 'remove' -l revoke -d 'Revoke the tokens that were had with them'
__apptoken_add 'token' -l json -d 'Print JSON: the token and what it is good for'
__apptoken_add 'revoke' -l all -d 'Revoke every token, of the key that --app or --host chooses if one of them is given'
__apptoken_add 'setup-git' -l undo -d 'Take it back'
__apptoken_add 'run' -l env -x -d 'Another variable to put the token in; may be given several times'
__apptoken_add 'run' -l as-bot -d 'Have git commit as the App\'s bot'
__apptoken_add 'init' -F
__apptoken_add 'add' -F
__apptoken_add 'remove' -Fa '(command apptoken words keys 2>/dev/null)'
__apptoken_add 'credential' -xa 'get store erase'
__apptoken_add 'run' -xa '(__apptoken_other)'
__apptoken_add 'daemon' -xa 'start stop status'
__apptoken_add 'completions' -xa 'bash zsh fish'
__apptoken_add 'man' -xa 'apptoken apptoken-agent'
__apptoken_add 'help' -xa 'init add list remove lock unlock token revoke gh git credential setup-git run whoami installations daemon status doctor completions man help protocol environment exit-codes security'
complete -c apptoken -n __apptoken_begun -xa '(__apptoken_other)'
