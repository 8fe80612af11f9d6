# For ~/.bashrc:
#
#     source /path/to/apptoken.bash
#     apptoken_use [own] [gh] [git]
#
# The second line finds your agent, or starts it. With `own`, this shell gets an agent of its own, which ends with it. With
# `gh` and `git`, these become functions that run `apptoken gh` and `apptoken git`; `command gh` is still gh itself.
# shellcheck shell=bash

_apptoken_start() {
    local lines
    lines=$(apptoken-agent -s -q "$@") && eval "$lines"
}

_apptoken_own() {
    _apptoken_start --new || return
    _apptoken_socket=$APPTOKEN_AUTH_SOCK
    # What was to be done at exit before is still done, after our own part.
    _apptoken_exit=$(trap -p EXIT)
    _apptoken_exit=${_apptoken_exit#trap -- }
    eval "_apptoken_exit=${_apptoken_exit% EXIT}"
    trap '_apptoken_end; eval "$_apptoken_exit"' EXIT
}

# Ends the agent that was started here, whatever the environment names by now.
_apptoken_end() {
    APPTOKEN_AUTH_SOCK=$_apptoken_socket apptoken-agent -k -s -q >/dev/null 2>&1
}

# shellcheck disable=SC2317 # gh and git are called by whoever types them
apptoken_use() {
    local option start=_apptoken_start
    for option; do
        case $option in
            own) start=_apptoken_own ;;
            gh) gh() { apptoken gh "$@"; } ;;
            git) git() { apptoken git "$@"; } ;;
            *)
                echo "apptoken_use: no such option; there are own, gh and git" >&2
                return 64
                ;;
        esac
    done
    "$start"
}
