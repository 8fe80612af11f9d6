# apptoken in fish. Made from its command line: UPDATE_GENERATED=1 cargo test completions
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
            case --app --host --owner --repo --installation-id --permissions --min-ttl --app-id -t --name --api-url --passphrase-fd --env
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
complete -c apptoken -f
complete -c apptoken -n '__apptoken_at ""' -a add -d 'Load a key into the agent'
complete -c apptoken -n '__apptoken_at ""' -a list -d 'List the keys that the agent holds'
complete -c apptoken -n '__apptoken_at ""' -a remove -d 'Remove keys from the agent'
complete -c apptoken -n '__apptoken_at ""' -a lock -d 'Lock the agent: encrypt every key under a passphrase'
complete -c apptoken -n '__apptoken_at ""' -a unlock -d 'Unlock the agent'
complete -c apptoken -n '__apptoken_at ""' -a token -d 'Print an installation token'
complete -c apptoken -n '__apptoken_at ""' -a revoke -d 'Revoke tokens that the agent handed out'
complete -c apptoken -n '__apptoken_at ""' -a gh -d 'Run gh with a token'
complete -c apptoken -n '__apptoken_at ""' -a git -d 'Run git with this program as its credential helper, and by https where a remote says ssh'
complete -c apptoken -n '__apptoken_at ""' -a credential -d 'Be git\'s credential helper'
complete -c apptoken -n '__apptoken_at ""' -a setup-git -d 'Make git ask this program for credentials'
complete -c apptoken -n '__apptoken_at ""' -a run -d 'Run a command with a token where gh looks for one: GH_TOKEN, GITHUB_TOKEN'
complete -c apptoken -n '__apptoken_at ""' -a whoami -d 'Show who the App is: its bot\'s name, number and e-mail address for commits'
complete -c apptoken -n '__apptoken_at ""' -a installations -d 'List where the App is installed'
complete -c apptoken -n '__apptoken_at ""' -a status -d 'Show the agent, its keys and its cached tokens'
complete -c apptoken -n '__apptoken_at ""' -a completions -d 'Print what has a shell complete the words of both programs'
complete -c apptoken -n '__apptoken_at ""' -a man -d 'Print a manual page, in roff'
complete -c apptoken -n '__apptoken_at ""' -a help -d 'Tell about a command or a topic'
complete -c apptoken -n '__apptoken_at "" token' -l app -xa '(command apptoken words keys 2>/dev/null)' -d 'The key: its name, fingerprint, App ID, client ID or slug'
complete -c apptoken -n '__apptoken_at "" token setup-git' -l host -xa '(command apptoken words hosts 2>/dev/null)' -d 'The host'
complete -c apptoken -n '__apptoken_at "" token' -l owner -xa '(command apptoken words owners 2>/dev/null)' -d 'The account whose installation to use'
complete -c apptoken -n '__apptoken_at "" token' -l repo -xa '(command apptoken words repos 2>/dev/null)' -d 'The repository to use, and narrow the token to'
complete -c apptoken -n '__apptoken_at "" token' -l installation-id -x -d 'The installation to use'
complete -c apptoken -n '__apptoken_at "" token' -l permissions -x -d 'Narrow the token, such as contents=read,issues=write'
complete -c apptoken -n '__apptoken_at "" token' -l min-ttl -x -d 'How long the token must live at least, such as 30m'
complete -c apptoken -n '__apptoken_at "" add list remove lock unlock token revoke credential setup-git run whoami installations status completions man help' -s h -l help -d 'Print help'
complete -c apptoken -n '__apptoken_at ""' -s V -l version -d 'Print version'
complete -c apptoken -n '__apptoken_at add' -l app-id -x -d 'The App\'s number, or its client ID'
complete -c apptoken -n '__apptoken_at add' -s t -x -d 'Forget the key after this long: 90, 45m, 1h30m, 2d, 1w'
complete -c apptoken -n '__apptoken_at add' -s c -d 'Have each use of the key confirmed'
complete -c apptoken -n '__apptoken_at add' -l name -x -d 'What to call the key'
complete -c apptoken -n '__apptoken_at add' -l host -xa '(command apptoken words hosts 2>/dev/null)' -d 'The host the App lives on'
complete -c apptoken -n '__apptoken_at add' -l api-url -x -d 'The REST API\'s base'
complete -c apptoken -n '__apptoken_at add' -l installation-id -x -d 'The installation to use when nothing else chooses one'
complete -c apptoken -n '__apptoken_at add' -l offline -d 'Do not check key and App against GitHub'
complete -c apptoken -n '__apptoken_at list whoami installations status' -l json -d 'Print JSON'
complete -c apptoken -n '__apptoken_at remove' -l all -d 'Remove every key'
complete -c apptoken -n '__apptoken_at remove' -l revoke -d 'Revoke the tokens that were had with them'
complete -c apptoken -n '__apptoken_at lock unlock' -l passphrase-fd -x -d 'Read the passphrase from this open file descriptor, up to the end of the line'
complete -c apptoken -n '__apptoken_at token' -l json -d 'Print JSON: the token and what it is good for'
complete -c apptoken -n '__apptoken_at revoke' -l all -d 'Revoke every token, of the key that --app or --host chooses if one of them is given'
complete -c apptoken -n '__apptoken_at setup-git' -l undo -d 'Take it back'
complete -c apptoken -n '__apptoken_at run' -l env -x -d 'Another variable to put the token in; may be given several times'
complete -c apptoken -n '__apptoken_at run' -l as-bot -d 'Have git commit as the App\'s bot'
complete -c apptoken -n '__apptoken_at add' -F
complete -c apptoken -n '__apptoken_at remove' -Fa '(command apptoken words keys 2>/dev/null)'
complete -c apptoken -n '__apptoken_at credential' -xa 'get store erase'
complete -c apptoken -n '__apptoken_at run' -xa '(__apptoken_other)'
complete -c apptoken -n '__apptoken_at completions' -xa 'bash zsh fish'
complete -c apptoken -n '__apptoken_at man' -xa 'apptoken apptoken-agent'
complete -c apptoken -n '__apptoken_at help' -xa 'add list remove lock unlock token revoke gh git credential setup-git run whoami installations status completions man help protocol environment exit-codes security'
complete -c apptoken -n __apptoken_begun -xa '(__apptoken_other)'
