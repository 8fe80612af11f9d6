# apptoken in bash. Made by tests/completions.rs
_apptoken() {
    local cur=${COMP_WORDS[COMP_CWORD]} verb='' want='' word i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        # Where readline splits words of ours.
        [[ $word == = ]] && continue
        [[ $word == : ]] && { ((i++)); continue; }
        [[ $want ]] && { want=''; continue; }
        case $verb:$word in
        *:--app) want='known keys' ;;
        *:--host) want='known hosts' ;;
        *:--owner) want='known owners' ;;
        *:--repo) want='known repos' ;;
        *:--installation-id | *:--permissions | *:--min-ttl | *:--app-id | *:--name | *:--api-url | *:--passphrase-fd | *:-t | *:--env) want='offer' ;;
        *:-*) ;;
        :gh | :git | run:*) _apptoken_other "$i"; return ;;
        :*) verb=$word ;;
        esac
    done
    [[ $cur == = ]] && cur=''
    if [[ $want ]]; then
        # shellcheck disable=SC2086 # a function and its arguments
        _apptoken_$want
    elif [[ $cur == -* ]]; then
        case $verb in
        '') _apptoken_offer --app --host --owner --repo --installation-id --permissions --min-ttl --no-start -h --help -V --version ;;
        init) _apptoken_offer --app-id --name --host --api-url --installation-id --passphrase-fd --offline --replace --remove-file -h --help ;;
        add) _apptoken_offer --app-id -t -c --name --host --api-url --installation-id --passphrase-fd --offline -h --help ;;
        list | whoami | installations | status) _apptoken_offer --json -h --help ;;
        remove) _apptoken_offer --all --revoke -h --help ;;
        lock | unlock | daemon) _apptoken_offer --passphrase-fd -h --help ;;
        token | doctor) _apptoken_offer --app --host --owner --repo --installation-id --permissions --min-ttl --no-start --json -h --help ;;
        revoke) _apptoken_offer --all -h --help ;;
        credential | completions | man | help) _apptoken_offer -h --help ;;
        setup-git) _apptoken_offer --host --undo -h --help ;;
        run) _apptoken_offer --env --as-bot -h --help ;;
        esac
    else
        case $verb in
        '') _apptoken_offer init add list remove lock unlock token revoke gh git credential setup-git run whoami installations daemon status doctor completions man help ;;
        init | add) _apptoken_files ;;
        remove) _apptoken_known keys; _apptoken_files ;;
        credential) _apptoken_offer get store erase ;;
        run) _apptoken_other "$COMP_CWORD" ;;
        daemon) _apptoken_offer start stop status ;;
        completions) _apptoken_offer bash zsh fish ;;
        man) _apptoken_offer apptoken apptoken-agent ;;
        help) _apptoken_offer init add list remove lock unlock token revoke gh git credential setup-git run whoami installations daemon status doctor completions man help protocol environment exit-codes security ;;
        esac
    fi
}
_apptoken_offer() {
    local word
    for word; do [[ $word == "$cur"* ]] && COMPREPLY+=("$word"); done
}
_apptoken_known() {
    local word
    while IFS= read -r word; do _apptoken_offer "$word"; done < <(command apptoken words "$1" 2>/dev/null)
}
_apptoken_files() {
    local word
    compopt -o filenames 2>/dev/null
    while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -f -- "$cur")
}
_apptoken_other() {
    local word
    for word in _comp_command_offset _command_offset; do
        declare -F $word >/dev/null && { $word "$1"; return; }
    done
    (($1 < COMP_CWORD)) && { _apptoken_files; return; }
    while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -c -- "$cur")
}
complete -F _apptoken apptoken
