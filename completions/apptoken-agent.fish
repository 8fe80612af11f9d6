# apptoken-agent in fish. Made from its command line: UPDATE_GENERATED=1 cargo test completions
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
complete -c apptoken-agent -f
complete -c apptoken-agent -n '__apptoken_agent_at ""' -s s -d 'Print for Bourne shells: sh, bash, dash, zsh'
complete -c apptoken-agent -n '__apptoken_agent_at ""' -s c -d 'Print for C shells: csh, tcsh'
complete -c apptoken-agent -n '__apptoken_agent_at ""' -l shell -xa 'sh csh fish' -d 'Print for this shell'
complete -c apptoken-agent -n '__apptoken_agent_at ""' -s a -rF -d 'Bind the socket here instead of in a new private directory'
complete -c apptoken-agent -n '__apptoken_agent_at ""' -s t -x -d 'Forget keys after this long: the default, and the most that a client may ask for'
complete -c apptoken-agent -n '__apptoken_agent_at ""' -l idle -x -d 'Forget every key when nothing was asked for this long'
complete -c apptoken-agent -n '__apptoken_agent_at ""' -l audit-log -rF -d 'Append a line to this file for each token that is handed out or refused'
complete -c apptoken-agent -n '__apptoken_agent_at ""' -l new -d 'Start another agent even if one of ours is running'
complete -c apptoken-agent -n '__apptoken_agent_at ""' -s q -d 'Leave out the echo line'
complete -c apptoken-agent -n '__apptoken_agent_at ""' -s D -d 'Stay in the foreground'
complete -c apptoken-agent -n '__apptoken_agent_at ""' -s d -d 'Stay in the foreground and tell on stderr what is done'
complete -c apptoken-agent -n '__apptoken_agent_at ""' -s k -d 'End the agent that the environment names, and print what makes a shell forget it'
complete -c apptoken-agent -n '__apptoken_agent_at ""' -l revoke -d 'With -k: revoke the tokens that it handed out before'
complete -c apptoken-agent -n '__apptoken_agent_at ""' -s h -l help -d 'Print help'
complete -c apptoken-agent -n '__apptoken_agent_at ""' -s V -l version -d 'Print version'
complete -c apptoken-agent -n '__apptoken_agent_at ""' -xa '(__apptoken_agent_other)'
complete -c apptoken-agent -n __apptoken_agent_begun -xa '(__apptoken_agent_other)'
