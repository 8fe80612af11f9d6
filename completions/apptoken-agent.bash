# apptoken-agent in bash. Made by tests/completions.rs
_apptoken_agent() {
    local cur=${COMP_WORDS[COMP_CWORD]} verb='' want='' word i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        # Where readline splits words of ours.
        [[ $word == = ]] && continue
        [[ $word == : ]] && { ((i++)); continue; }
        [[ $want ]] && { want=''; continue; }
        case $verb:$word in
        *:--shell) want='offer sh csh fish' ;;
        *:-a | *:--audit-log) want='files' ;;
        *:-t | *:--idle) want='offer' ;;
        *:-*) ;;
        '':*) _apptoken_agent_other "$i"; return ;;
        esac
    done
    [[ $cur == = ]] && cur=''
    if [[ $want ]]; then
        # shellcheck disable=SC2086 # a function and its arguments
        _apptoken_agent_$want
    elif [[ $cur == -* ]]; then
        case $verb in
        '') _apptoken_agent_offer -s -c --shell -a -t --idle --audit-log --new -q -D -d -k --revoke -h --help -V --version ;;
        esac
    else
        case $verb in
        '') _apptoken_agent_other "$COMP_CWORD" ;;
        esac
    fi
}
_apptoken_agent_offer() {
    local word
    for word; do [[ $word == "$cur"* ]] && COMPREPLY+=("$word"); done
}
_apptoken_agent_files() {
    local word
    compopt -o filenames 2>/dev/null
    while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -f -- "$cur")
}
_apptoken_agent_other() {
    local word
    for word in _comp_command_offset _command_offset; do
        declare -F $word >/dev/null && { $word "$1"; return; }
    done
    (($1 < COMP_CWORD)) && { _apptoken_agent_files; return; }
    while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -c -- "$cur")
}
complete -F _apptoken_agent apptoken-agent
