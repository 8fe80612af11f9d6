# For ~/.config/fish/config.fish:
#
#     source /path/to/apptoken.fish
#     apptoken_use [own] [gh] [git]
#
# The second line finds your agent, or starts it. With `own`, this shell gets an agent of its own, which ends with it. With
# `gh` and `git`, these become functions that run `apptoken gh` and `apptoken git`; `command gh` is still gh itself.

function _apptoken_start
    set -l lines (apptoken-agent --shell fish -q $argv)
    or return
    eval (string join \n -- $lines)
end

function _apptoken_own
    _apptoken_start --new
    or return
    set -g _apptoken_socket $APPTOKEN_AUTH_SOCK
    # Ends the agent that was started here, whatever the environment names by now.
    function _apptoken_end --on-event fish_exit
        APPTOKEN_AUTH_SOCK=$_apptoken_socket apptoken-agent -k --shell fish -q >/dev/null 2>&1
    end
end

function apptoken_use
    set -l start _apptoken_start
    for option in $argv
        switch $option
            case own
                set start _apptoken_own
            case gh
                function gh --wraps gh
                    apptoken gh $argv
                end
            case git
                function git --wraps git
                    apptoken git $argv
                end
            case '*'
                echo "apptoken_use: no such option; there are own, gh and git" >&2
                return 64
        end
    end
    $start
end
