# For ~/.zshrc:
#
#     source /path/to/apptoken.zsh
#     apptoken_use [own] [gh] [git]
#
# The second line finds your agent, or starts it. With `own`, this shell gets an agent of its own, which ends with it. With
# `gh` and `git`, these become functions that run `apptoken gh` and `apptoken git`; `command gh` is still gh itself.

_apptoken_start() {
    emulate -L zsh
    local lines
    lines=$(apptoken-agent -s -q "$@") && eval "$lines"
}

_apptoken_own() {
    _apptoken_start --new || return
    typeset -g _apptoken_socket=$APPTOKEN_AUTH_SOCK
    typeset -ga zshexit_functions
    zshexit_functions+=(_apptoken_end)
}

# Ends the agent that was started here, whatever the environment names by now.
_apptoken_end() {
    APPTOKEN_AUTH_SOCK=$_apptoken_socket apptoken-agent -k -s -q >/dev/null 2>&1
}

apptoken_use() {
    emulate -L zsh
    local option start=_apptoken_start
    for option; do
        case $option in
            (own) start=_apptoken_own ;;
            (gh) functions[gh]='apptoken gh "$@"' ;;
            (git) functions[git]='apptoken git "$@"' ;;
            (*)
                print -u2 "apptoken_use: no such option; there are own, gh and git"
                return 64
                ;;
        esac
    done
    "$start"
}
