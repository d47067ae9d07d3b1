# Procedural memory for fish: records each command in the background; KEY puts what may come next on the command line.
if status is-interactive

set -g _pm_python @PYTHON@
set -g _pm_hook @HOOK@
set -g _pm_store @STORE@
set -g _pm_session fish-$fish_pid-(date +%s)
set -g _pm_recent
set -g _pm_last ''
set -g _pm_choices
set -g _pm_losing
set -g _pm_index 0
set -g _pm_typed ''
set -g _pm_shown ''

function _pm_off
    set -q PROCEDURAL_MEMORY_DISABLE; and not contains -- "$PROCEDURAL_MEMORY_DISABLE" '' 0
end

function _pm_before --on-event fish_preexec
    set -g _pm_folder $PWD
end

function _pm_after --on-event fish_postexec
    set -l code $status
    set -l took $CMD_DURATION
    set -g _pm_index 0
    set -g _pm_choices
    # What is typed after a blank is nobody's business, and neither is anything with the switch off.
    if test -z "$argv[1]"; or test -n "$fish_private_mode"; or string match -qr '^\s' -- $argv[1]; or _pm_off
        return
    end
    if not string match -qr '^(?s).{2001}' -- $argv[1]
        set -ga _pm_recent $argv[1] $code
        set -q _pm_recent[17]; and set -e _pm_recent[1 2]
    end
    # By the environment, which only this user can read. One waits for the other, so that the order is kept.
    # fish knows no time in fractions of a second: without a start it is now, less what it took.
    set -lx _PM_LINE $argv[1]
    set -lx _PM_CODE $code
    set -lx _PM_CWD $_pm_folder
    set -lx _PM_TOOK $took
    set -lx _PM_SESSION $_pm_session
    set -lx _PM_SHELL fish
    set -lx _PM_AFTER $_pm_last
    # $last_pid belongs to the user. Fully under job control it has a process group of its own, which the terminal leaves
    # alone.
    set -l before $last_pid
    set -l control interactive
    status is-full-job-control; and set control full
    status is-no-job-control; and set control none
    status job-control full
    if string match -qr '^(?s).{32001}' -- $argv[1] # too long for the environment
        set -e _PM_LINE
        printf %s $argv[1] | command nice -n 10 $_pm_python -I -S $_pm_hook shell record --store $_pm_store >/dev/null 2>/dev/null &
    else
        command nice -n 10 $_pm_python -I -S $_pm_hook shell record --store $_pm_store >/dev/null 2>/dev/null &
    end
    set -g _pm_last $last_pid
    disown $last_pid 2>/dev/null
    if test @GHOST@ = 1
        set -g _pm_ghost
        set -lx _PM_CWD $PWD
        set -lx _PM_RECENT (string join \x1f -- $_pm_recent)
        command nice -n 10 $_pm_python -I -S $_pm_hook shell suggest --unasked --tell $fish_pid --store $_pm_store >/dev/null 2>/dev/null &
        disown $last_pid 2>/dev/null
    end
    status job-control $control
    if set -q before[1]
        set -g last_pid $before
    else
        set -e last_pid
    end
end

function _pm_ask
    set -lx _PM_CWD $PWD
    set -lx _PM_TYPED $_pm_typed
    set -lx _PM_RECENT (string join \x1f -- $_pm_recent)
    command $_pm_python -I -S $_pm_hook shell suggest --store $_pm_store 2>/dev/null | string split0
end

function _pm_next
    set -l line (commandline | string collect)
    if test (count $_pm_choices) -eq 0; or test "$line" != "$_pm_shown"
        set -g _pm_typed $line
        set -g _pm_index 0
        set -g _pm_choices
        set -g _pm_losing
        _pm_off; and return
        for item in (_pm_ask)
            set -l kind (string sub -l 1 -- $item)
            set -l choice (string sub -s 2 -- $item | string collect)
            set -ga _pm_choices $choice
            set -ga _pm_losing $kind
        end
        if test (count $_pm_choices) -eq 0
            printf '\nno prediction\n'
            commandline -f repaint
            return
        end
    end
    set -g _pm_index (math "$_pm_index % ($(count $_pm_choices) + 1) + 1")
    if test $_pm_index -gt (count $_pm_choices) # all the way round: as it was typed
        commandline -r -- $_pm_typed
    else if test $_pm_losing[$_pm_index] = d
        # Never one key away from the line that loses data.
        commandline -r -- $_pm_typed
        printf '\ncan lose data: %s   (%s puts it on the line)\n' $_pm_choices[$_pm_index] '@SECOND_NAME@'
        commandline -f repaint
    else
        commandline -r -- $_pm_choices[$_pm_index]
    end
    set -g _pm_shown (commandline | string collect)
end

function _pm_take
    test $_pm_index -ge 1; and test $_pm_index -le (count $_pm_choices); or return
    if test $_pm_losing[$_pm_index] = d; and test "$(commandline | string collect)" = "$_pm_shown"
        commandline -r -- $_pm_choices[$_pm_index]
        set -g _pm_shown (commandline | string collect)
    end
end

for keys in default insert
    bind -M $keys @KEY@ _pm_next
    bind -M $keys @SECOND@ _pm_take
end

if test @GHOST@ = 1
    # fish shows nothing behind an empty line, so the likeliest next command stands at the right, dim. It was asked for in
    # the background when the last command ended, and is taken in when it is there.
    set -g _pm_ghost
    functions -q fish_right_prompt; and not functions -q _pm_right_prompt; and functions -c fish_right_prompt _pm_right_prompt
    function fish_right_prompt
        functions -q _pm_right_prompt; and _pm_right_prompt
        test -n "$_pm_ghost"; or return
        set_color brblack
        string shorten -m 60 -- $_pm_ghost
        set_color normal
    end
    function _pm_arrived --on-signal SIGUSR1
        set -l file $_pm_store.$fish_pid.ghost
        test -r $file; or return
        read -z -g _pm_ghost <$file
        command rm -f $file
        commandline -f repaint
    end
end

end
