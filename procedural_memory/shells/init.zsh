# Procedural memory for zsh: records each command in the background; KEY puts what may come next on the command line.
[[ -o interactive ]] || return 0
# Every function says emulate -L zsh: what the user's options change does not reach it.
zmodload zsh/datetime zsh/system 2>/dev/null
autoload -Uz add-zsh-hook add-zle-hook-widget

typeset -g _pm_python=@PYTHON@ _pm_hook=@HOOK@ _pm_store=@STORE@ _pm_ghosts=@GHOST@
typeset -g _pm_session="zsh-$$-${EPOCHSECONDS}"
typeset -ga _pm_recent _pm_choices _pm_losing
typeset -g _pm_line= _pm_started= _pm_index=0 _pm_typed= _pm_shown= _pm_ghost= _pm_fd= _pm_last=

_pm_call() {  # in a subshell of its own: how many words come before the program, these, and what it is to do
  # A line too long for the environment goes by a pipe.
  (( ${#${_PM_LINE-}} <= 32000 )) || { exec < <(print -rn -- $_PM_LINE); unset _PM_LINE }
  exec "${(@)@[2,$1+1]}" $_pm_python -I -S $_pm_hook shell "${(@)@[$1+2,-1]}" --store $_pm_store
}

_pm_preexec() {
  emulate -L zsh
  _pm_line=$1 _pm_started=$EPOCHREALTIME _pm_folder=$PWD
}

_pm_precmd() {
  local code=$? line=$_pm_line
  emulate -L zsh
  _pm_line= _pm_index=0 _pm_choices=()
  # What is typed after a blank is nobody's business, and neither is anything with the switch off.
  [[ -z $line || $line == [[:space:]]* || ${PROCEDURAL_MEMORY_DISABLE:-0} != 0 ]] && return 0
  local started=$_pm_started took=$(( (EPOCHREALTIME - _pm_started) * 1000 ))
  (( ${#line} > 2000 )) || _pm_recent+=("$line" $code)
  (( ${#_pm_recent} > 16 )) && _pm_recent=("${(@)_pm_recent[-16,-1]}")
  # By the environment, which only this user can read. One waits for the other, so that the order is kept. By a process
  # substitution, which is no job and leaves $! to the user; what ends or stops a job of this terminal does not reach it.
  local fd
  trap '' HUP INT QUIT  # until the function ends: a terminal may close before the recorder says so itself
  exec {fd}< <(
    trap '' HUP INT QUIT TSTP TTIN TTOU
    _PM_LINE=$line _PM_CODE=$code _PM_CWD=$_pm_folder _PM_START=$started _PM_TOOK=$took _PM_SESSION=$_pm_session \
      _PM_SHELL=zsh _PM_AFTER=$_pm_last _pm_call 3 nice -n 10 record &>/dev/null
  )
  exec {fd}<&-
  _pm_last=${sysparams[procsubstpid]:-}
  return 0
}
typeset -g _pm_folder=$PWD

_pm_ask() {  # what may come next, most probable first: a letter and the line, ended by a NUL
  emulate -L zsh
  [[ ${PROCEDURAL_MEMORY_DISABLE:-0} != 0 ]] && return
  ( _PM_CWD=$PWD _PM_TYPED=$_pm_typed _PM_RECENT=${(pj:\x1f:)_pm_recent} _pm_call 0 suggest "$@" ) 2>/dev/null
}

_pm_alone() {  # nothing that was shown behind the line stays there, to be joined to another one
  _pm_clear_ghost
  (( $+widgets[autosuggest-clear] )) && zle autosuggest-clear
  POSTDISPLAY=
}

_pm_beside() {  # zsh-autosuggestions goes on from the line that stands there now, not from what it was asked before
  (( $+widgets[autosuggest-fetch] && ! $+_ZSH_AUTOSUGGEST_DISABLED )) && zle autosuggest-fetch
}

_pm_next() {  # a widget: the next prediction that begins with what was typed
  emulate -L zsh
  if (( ! ${#_pm_choices} )) || [[ $BUFFER != $_pm_shown ]]; then
    _pm_typed=$BUFFER _pm_index=0 _pm_choices=() _pm_losing=()
    local item
    while IFS= read -rd '' item; do
      _pm_choices+=("${item[2,-1]}")
      [[ $item == d* ]] && _pm_losing+=("${item[2,-1]}")
    done < <(_pm_ask)
    (( ${#_pm_choices} )) || { zle -M 'no prediction'; return 0 }
  fi
  _pm_alone
  _pm_index=$(( _pm_index % (${#_pm_choices} + 1) + 1 ))
  if (( _pm_index > ${#_pm_choices} )); then  # all the way round: as it was typed
    zle -M ''
    BUFFER=$_pm_typed
  elif (( ${_pm_losing[(Ie)${_pm_choices[_pm_index]}]} )); then
    # Never one key away from the line that loses data.
    BUFFER=$_pm_typed
    zle -M "can lose data: ${_pm_choices[_pm_index]}   (@SECOND_NAME@ puts it on the line)"
  else
    zle -M ''  # what was said of the one before
    BUFFER=${_pm_choices[_pm_index]}
  fi
  CURSOR=$#BUFFER _pm_shown=$BUFFER
  _pm_beside
}

_pm_take() {  # a widget: the line that can lose data, which was shown
  emulate -L zsh
  local choice=${_pm_choices[_pm_index]:-}
  if [[ -n $choice && $BUFFER == $_pm_shown ]] && (( ${_pm_losing[(Ie)$choice]} )); then
    _pm_alone
    BUFFER=$choice CURSOR=$#BUFFER _pm_shown=$BUFFER
    zle -M ''  # it is on the line now
    _pm_beside
  fi
}

_pm_clear_ghost() {
  emulate -L zsh
  [[ -n $_pm_ghost && $POSTDISPLAY == $_pm_ghost ]] && POSTDISPLAY=
  region_highlight=("${(@)region_highlight:#*memo=procedural-memory}")
  _pm_ghost=
}

_pm_right() {  # in place of what goes to the right: takes a ghost over, and else does what it did
  emulate -L zsh
  if [[ -n $_pm_ghost && -z $BUFFER && $POSTDISPLAY == $_pm_ghost ]]; then
    local line=$_pm_ghost
    _pm_alone
    BUFFER=$line CURSOR=$#line
    _pm_beside
  else
    zle .$WIDGET
  fi
}

_pm_line_init() {  # ask in the background, so that the prompt waits for nobody
  emulate -L zsh
  _pm_shown= _pm_typed=
  [[ -n $_pm_fd ]] && { zle -F $_pm_fd 2>/dev/null; exec {_pm_fd}<&-; _pm_fd= }
  [[ $CONTEXT == start && -z $BUFFER && ${PROCEDURAL_MEMORY_DISABLE:-0} == 0 ]] || return 0
  exec {_pm_fd}< <(_pm_ask --unasked)
  zle -F $_pm_fd _pm_ghost_arrived
}

_pm_ghost_arrived() {
  emulate -L zsh
  local item=
  zle -F $1
  IFS= read -rd '' item <&$1
  exec {1}<&-
  _pm_fd=
  zle && [[ $item == r* ]] && zle _pm-show-ghost "${item[2,-1]}"
}

_pm_show_ghost() {
  emulate -L zsh
  [[ -z $BUFFER && -z $POSTDISPLAY ]] || return 0
  # What zsh-autosuggestions still waits for is about the line before, and would hide what stands behind this one.
  local late=${_ZSH_AUTOSUGGEST_ASYNC_FD:-}
  if [[ -n $late && $'\n'"$(zle -F -L)"$'\n' == *$'\n'"zle -F $late _zsh_autosuggest_async_response"$'\n'* ]]; then
    zle -F $late
    { exec {late}<&- } 2>/dev/null
    late=${_ZSH_AUTOSUGGEST_CHILD_PID:-}
    [[ -o monitor ]] && late=-$late  # as there, with all that it started
    [[ $late == (-|)<1-> ]] && kill -TERM -- $late 2>/dev/null
    _ZSH_AUTOSUGGEST_ASYNC_FD= _ZSH_AUTOSUGGEST_CHILD_PID=
  fi
  _pm_ghost=$1 POSTDISPLAY=$1
  region_highlight+=("0 ${#1} fg=8 memo=procedural-memory")
  zle -R
}

_pm_redraw() {
  emulate -L zsh
  [[ -n $_pm_ghost && -n $BUFFER ]] && _pm_clear_ghost
  return 0
}

_pm_line_finish() { _pm_clear_ghost }

() {
  emulate -L zsh
  add-zsh-hook preexec _pm_preexec
  precmd_functions=(_pm_precmd ${precmd_functions:#_pm_precmd})  # first: it wants the exit status
  zle -N _pm-next _pm_next
  zle -N _pm-take _pm_take
  local keys
  for keys in emacs viins vicmd; do
    bindkey -M $keys @KEY@ _pm-next
    bindkey -M $keys @SECOND@ _pm-take
  done
  if (( _pm_ghosts )); then
    zle -N _pm-show-ghost _pm_show_ghost
    local right
    for right in forward-char end-of-line vi-forward-char vi-end-of-line; do
      [[ $widgets[$right] == builtin ]] && zle -N $right _pm_right  # zsh-autosuggestions has its own, which do so
    done
    add-zle-hook-widget line-init _pm_line_init
    add-zle-hook-widget line-pre-redraw _pm_redraw
    add-zle-hook-widget line-finish _pm_line_finish
  fi
}
