# Procedural memory for bash: records each command in the background; KEY puts what may come next on the command line.
# A line that bash keeps out of its history (after a blank, or as a repetition) is not recorded.
if [[ $- == *i* ]]; then

_pm_python=@PYTHON@ _pm_hook=@HOOK@ _pm_store=@STORE@
_pm_session="bash-$$-${EPOCHSECONDS:-$(date +%s)}"
_pm_recent=() _pm_choices=() _pm_losing=()
_pm_index=0 _pm_typed= _pm_shown= _pm_number=none _pm_seen= _pm_started= _pm_last= _pm_folder=$PWD

_pm_call() {  # in a subshell; a line too long for the environment goes by a pipe
  [[ -z ${_PM_LINE-} ]] || (( ${#_PM_LINE} <= 32000 )) || { exec < <(printf %s "$_PM_LINE"); unset _PM_LINE; }
  exec "${@:2:$1}" "$_pm_python" -I -S "$_pm_hook" shell "${@:2+$1}" --store "$_pm_store"
}

_pm_row() {  # sets number and line, from "   12  the line", or "   12* the line" where it was edited
  local when begin stamp
  line=${1#"${1%%[! ]*}"}
  number=${line%%[ *]*} line=${line#"$number"}
  line=${line#[ *]} line=${line# }
  [[ -n $fixed ]] || return 0
  # HISTTIMEFORMAT is readonly, and so there is a time before the line: about that at which it began.
  printf -v begin '%(%s)T' -1 2>/dev/null || begin=0
  [[ -z $_pm_started ]] || begin=$(( _pm_started / 1000000 + 1 ))
  for (( when = begin; when > begin - 600; --when )); do
    printf -v stamp "%($HISTTIMEFORMAT)T" "$when" 2>/dev/null
    [[ -z $stamp || $line != "$stamp"* ]] || { line=${line#"$stamp"}; return 0; }
  done
  line=
}

_pm_prompt() {
  local code=$? number line newest seen row now took= fixed=
  _pm_index=0 _pm_choices=()
  row=$( { HISTTIMEFORMAT= && builtin history 1; } 2>/dev/null ) || { fixed=1 row=$(builtin history 1); }
  _pm_row "$row"
  newest=$number seen=$line
  # With erasedups a line takes the place of an equal one, and numbers may stay as they are or go back.
  if [[ $_pm_number == none || -z $line || ( $number == "$_pm_number" && $line == "$_pm_seen" ) ]] ||
    (( number < _pm_number )) && [[ :${HISTCONTROL-}: != *:erasedups:* ]]; then
    line=
  elif (( _pm_number && number - _pm_number > 1 )) && ! shopt -q cmdhist; then
    # Each line of a command has a number of its own; and where shells share their history, lines of others may be among
    # them.
    if [[ ${PROMPT_COMMAND[*]} == *history* ]]; then
      line=
    else
      seen=
      while IFS= read -r row; do
        _pm_row "$row"
        seen+=${seen:+$'\n'}$line
      done <<< "$([[ -n $fixed ]] || HISTTIMEFORMAT=; builtin history $(( number - _pm_number )))"
      line=$seen seen=${seen##*$'\n'}
    fi
  fi
  # A number that is new may also come of a history that shells share; PS0 tells that a command ran here.
  if [[ -n $line && $line != [[:space:]]* && ( -n $_pm_started || -z $_pm_times ) &&
    ${PROCEDURAL_MEMORY_DISABLE:-0} == 0 ]]; then
    if [[ -n $_pm_started && -n ${EPOCHREALTIME-} ]]; then
      now=${EPOCHREALTIME/[.,]/}
      took=$(( (now - _pm_started) / 1000 ))
    fi
    (( ${#line} > 2000 )) || _pm_recent+=("$line" "$code")
    (( ${#_pm_recent[@]} > 16 )) && _pm_recent=("${_pm_recent[@]: -16}")
    # By the environment, which only this user can read. One waits for the other, so that the order is kept. Begun by a
    # subshell, for $! belongs to the user; and what ends or stops a job of this terminal does not reach it.
    _pm_last=$(
      exec 2>/dev/null
      trap '' HUP INT QUIT TSTP TTIN TTOU
      _PM_LINE=$line _PM_CODE=$code _PM_CWD=$_pm_folder _PM_TOOK=$took _PM_SESSION=$_pm_session _PM_SHELL=bash \
        _PM_START=${_pm_started:+${_pm_started%??????}.${_pm_started: -6}} _PM_AFTER=$_pm_last \
        _pm_call 3 nice -n 10 record >/dev/null &
      printf %s "$!"
    ) || _pm_last=
  fi
  _pm_number=$newest _pm_seen=$seen _pm_started= _pm_folder=$PWD
  [[ $- == *e* ]] || return "$code"  # where a failure ends the shell it must not be this one
}

_pm_next() {
  local item found
  if (( ! ${#_pm_choices[@]} )) || [[ $READLINE_LINE != "$_pm_shown" ]]; then
    _pm_typed=$READLINE_LINE _pm_index=0 _pm_choices=() _pm_losing=()
    [[ ${PROCEDURAL_MEMORY_DISABLE:-0} == 0 ]] || return 0
    # In a subshell: what is read from here would become $!.
    eval "found=($(
      while IFS= read -rd '' item; do
        printf '%q ' "$item"
      done < <(_PM_CWD=$PWD _PM_TYPED=$_pm_typed _PM_RECENT=$(IFS=$'\x1f'; printf %s "${_pm_recent[*]}") _pm_call 0 suggest 2>/dev/null)
    ))"
    for item in "${found[@]}"; do
      _pm_choices+=("${item:1}")
      _pm_losing+=("${item:0:1}")
    done
    (( ${#_pm_choices[@]} )) || { printf 'no prediction\n'; return 0; }
  fi
  if (( _pm_index == ${#_pm_choices[@]} )); then  # all the way round: as it was typed
    READLINE_LINE=$_pm_typed _pm_index=0
  else
    if [[ ${_pm_losing[_pm_index]} == d ]]; then
      # Never one key away from the line that loses data.
      READLINE_LINE=$_pm_typed
      printf '%s\n' "can lose data: ${_pm_choices[_pm_index]}   (@SECOND_NAME@ puts it on the line)"
    else
      READLINE_LINE=${_pm_choices[_pm_index]}
    fi
    (( ++_pm_index ))
  fi
  READLINE_POINT=${#READLINE_LINE} _pm_shown=$READLINE_LINE
}

_pm_take() {
  if (( _pm_index > 0 )) && [[ $READLINE_LINE == "$_pm_shown" && ${_pm_losing[_pm_index - 1]} == d ]]; then
    READLINE_LINE=${_pm_choices[_pm_index - 1]}
    READLINE_POINT=${#READLINE_LINE} _pm_shown=$READLINE_LINE
  fi
}

# When a command starts; an arithmetic that is expanded shows nothing.
_pm_times=
[[ -n ${EPOCHREALTIME-} ]] && shopt -q promptvars && _pm_times=1
[[ -n $_pm_times && ${PS0-} != *_pm_started* ]] && PS0='${_pm_hook:$((_pm_started=${EPOCHREALTIME/[.,]/},0)):0}'"${PS0-}"
# First: it wants the exit status.
if [[ $(declare -p PROMPT_COMMAND 2>/dev/null) == 'declare -a'* ]]; then
  [[ " ${PROMPT_COMMAND[*]} " == *' _pm_prompt '* ]] || PROMPT_COMMAND=(_pm_prompt "${PROMPT_COMMAND[@]}")
else
  [[ ${PROMPT_COMMAND-} == *_pm_prompt* ]] || PROMPT_COMMAND="_pm_prompt${PROMPT_COMMAND:+;$PROMPT_COMMAND}"
fi
for _pm_keys in emacs vi-insert vi-command; do
  bind -m "$_pm_keys" -x '"@KEY@": _pm_next'
  bind -m "$_pm_keys" -x '"@SECOND@": _pm_take'
done
unset _pm_keys

fi
