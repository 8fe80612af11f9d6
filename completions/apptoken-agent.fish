# apptoken-agent in fish. Made by tests/completions.rs
# What stands before the cursor: the command of ours, and from where on another program completes.
function __apptoken_agent_read
    set -g __apptoken_agent_verb
    set -g __apptoken_agent_rest
    set -l words (commandline -opc)
    set -l value
    for i in (seq 2 (count $words))
        set -l word $words[$i]
        if set -q value[1]
            set -e value[1]
            continue
        end
        switch $word
            case --shell -a -t --idle --audit-log
                set value $word
            case '-*'
            case '*'
                set -g __apptoken_agent_rest $words[$i..]
                return
        end
    end
end
function __apptoken_agent_at
    __apptoken_agent_read
    not set -q __apptoken_agent_rest[1]; and contains -- "$__apptoken_agent_verb" $argv
end
function __apptoken_agent_begun
    __apptoken_agent_read
    set -q __apptoken_agent_rest[1]
end
function __apptoken_agent_other
    __apptoken_agent_read
    complete --do-complete="$(string join ' ' -- (string escape -- $__apptoken_agent_rest) (commandline -ct))"
end
# A completion after one of these commands; after "" is before any.
function __apptoken_agent_add
    complete -c apptoken-agent -n "__apptoken_agent_at $argv[1]" $argv[2..]
end
complete -c apptoken-agent -f
__apptoken_agent_add '""' -s s -d 'Print for Bourne shells: sh, bash, dash, zsh'
__apptoken_agent_add '""' -s c -d 'Print for C shells: csh, tcsh'
__apptoken_agent_add '""' -l shell -xa 'sh csh fish' -d 'Print for this shell'
__apptoken_agent_add '""' -s a -rF -d 'Bind the socket here instead of in a new private directory'
__apptoken_agent_add '""' -s t -x -d 'Forget keys after this long: the default, and the most that a client may ask for'
__apptoken_agent_add '""' -l idle -x -d 'Forget every key when nothing was asked for this long'
__apptoken_agent_add '""' -l audit-log -rF -d 'Append a line to this file for each token that is handed out or refused'
__apptoken_agent_add '""' -l new -d 'Start another agent even if one of ours is running'
__apptoken_agent_add '""' -s q -d 'Leave out the echo line'
__apptoken_agent_add '""' -s D -d 'Stay in the foreground'
__apptoken_agent_add '""' -s d -d 'Stay in the foreground and tell on stderr what is done'
__apptoken_agent_add '""' -s k -d 'End the agent that the environment names, and print what makes a shell forget it'
__apptoken_agent_add '""' -l revoke -d 'With -k: revoke the tokens that it handed out before'
__apptoken_agent_add '""' -s h -l help -d 'Print help'
__apptoken_agent_add '""' -s V -l version -d 'Print version'
__apptoken_agent_add '""' -xa '(__apptoken_agent_other)'
complete -c apptoken-agent -n __apptoken_agent_begun -xa '(__apptoken_agent_other)'
