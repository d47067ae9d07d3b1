# Procedural memory for bash: records each command in the background; KEY puts what may come next on the command line.
# A line that bash keeps out of its history (after a blank, or as a repetition) is not recorded.
if [[ $- == *i* ]]; then

_pm_python=@PYTHON@ _pm_hook=@HOOK@ _pm_store=@STORE@
_pm_session="bash-$$-${EPOCHSECONDS:-$(date +%s)}"
_pm_recent=() _pm_choices=() _pm_losing=()
_pm_index=0 _pm_typed= _pm_shown= _pm_number=none _pm_seen= _pm_sure= _pm_moved= _pm_top= _pm_at= _pm_more=0
_pm_started= _pm_last= _pm_folder=$PWD

_pm_call() {  # in a subshell: how many words come before the program, these, and what it is to do
  # A line too long for the environment goes by a pipe.
  [[ -z ${_PM_LINE-} ]] || (( ${#_PM_LINE} <= 32000 )) || { exec < <(printf %s "$_PM_LINE"); unset _PM_LINE; }
  exec "${@:2:$1}" "$_pm_python" -I -S "$_pm_hook" shell "${@:2+$1}" --store "$_pm_store"
}

_pm_row() {  # sets number and line, from "   12  the line", or "   12* the line" where it was edited
  line=${1#"${1%%[! ]*}"}
  number=${line%%[ *]*} line=${line#"$number"}
  line=${line#[ *]} line=${line# }
}

_pm_newest() {  # sets number and line to those of the newest entry
  _pm_row "$(builtin history 1)"
}

_pm_bare() {  # HISTTIMEFORMAT is readonly: takes the time from before the line, about that at which it began
  local when begin stamp
  [[ -n $fixed ]] || return 0
  printf -v begin '%(%s)T' -1 2>/dev/null || begin=0
  [[ -z $_pm_started ]] || begin=$(( _pm_started / 1000000 + 1 ))
  for (( when = begin; when > begin - 600; --when )); do
    printf -v stamp "%($HISTTIMEFORMAT)T" "$when" 2>/dev/null
    [[ -z $stamp || $line != "$stamp"* ]] || { line=${line#"$stamp"}; return 0; }
  done
  line=
}

_pm_own() {  # sets line to the command that was typed here; fails where there was none, or that is not certain
  local added=$(( number - _pm_number )) all= row whole= erases=
  [[ $added != 0 || $line != "$_pm_seen" ]] || return 1
  [[ :${HISTCONTROL-}: != *:erasedups:* ]] || erases=1
  if shopt -q cmdhist; then
    # With erasedups a line takes the place of equal ones, and numbers may stay as they are or go back.
    (( added == 1 )) || { [[ -n $erases ]] && (( added < 1 )); } || return 1
  else
    # Each line of a command has a number of its own; PS2 tells how many there were.
    [[ -z $_pm_times || ${PS2-} != *_pm_more* ]] || all=$(( _pm_more + 1 ))
    if [[ -n $erases ]]; then
      [[ -n $all ]] && (( added == all || all == 1 && added < 1 )) || return 1
    else
      (( added >= 1 )) && { [[ -z $all ]] || (( added <= all )); } || return 1
    fi
  fi
  if (( added > 1 )); then
    while IFS= read -r row; do
      _pm_row "$row"
      _pm_bare
      whole+=${whole:+$'\n'}$line
    done <<< "$(builtin history "$added")"
    line=$whole
  else
    _pm_bare
  fi
  [[ -n $line && $line != [[:space:]]* ]]
}

_pm_record() {  # by the environment, which only this user can read; one waits for the other, so that the order is kept
  _pm_newest
  _pm_own || exit 0
  _PM_LINE=$line _PM_CODE=$code _PM_CWD=$_pm_folder _PM_TOOK=$took _PM_SESSION=$_pm_session _PM_SHELL=bash \
    _PM_START=${_pm_started:+${_pm_started%??????}.${_pm_started: -6}} _PM_AFTER=$_pm_last \
    _pm_call 3 nice -n 10 record
}

_pm_prompt() {
  local code=$? number=$_pm_number line=$_pm_seen at= seen took= fixed= may=1 told newest
  local HISTTIMEFORMAT= 2>/dev/null || fixed=1
  _pm_index=0 _pm_choices=()
  if [[ -n $_pm_times ]]; then
    at='\!' at=${at@P}
    # PS0 tells that a command ran here, and the number that the history had reached: the command did not change it then.
    [[ -n $_pm_started && $at == "$_pm_at" ]] && [[ $at != "$_pm_top" || :${HISTCONTROL-}: == *:erasedups:* ]] || may=
    [[ -z $_pm_started ]] || took=${EPOCHREALTIME/[.,]/} took=$(( (took - _pm_started) / 1000 ))
  fi
  if [[ -n $may && $number != none && -n $_pm_sure && ${PROCEDURAL_MEMORY_DISABLE:-0} == 0 ]]; then
    # One subshell for all, as each costs the prompt a millisecond. $! belongs to the user, and so the recorder is begun
    # by that; what ends or stops a job of this terminal does not reach it.
    told=$(
      trap '' HUP INT QUIT TSTP TTIN TTOU
      _pm_record &>/dev/null &
      printf '%s:' "$!"
      builtin history 1
    ) || told=:
    _pm_row "${told#*:}"
    seen=$line newest=$number
    if _pm_own; then
      (( ${#line} > 2000 )) || _pm_recent+=("$line" "$code")
      (( ${#_pm_recent[@]} > 16 )) && _pm_recent=("${_pm_recent[@]: -16}")
      _pm_last=${told%%:*}
    fi
    number=$newest line=$seen
  elif [[ -z $at || $at != "$_pm_top" || -n $_pm_started ]]; then
    _pm_newest
  fi
  _pm_started= _pm_more=0 _pm_folder=$PWD _pm_moved=
  _pm_marks
  _pm_end
  _pm_base
  [[ $- == *e* ]] || return "$code"  # where a failure ends the shell it must not be this one
}

_pm_end() {  # what the start-up file or another tool puts behind it may read a history: last again, from the next prompt on
  local IFS=$'\n' all index
  all=${PROMPT_COMMAND[*]}
  [[ $all != *_pm_settle ]] && [[ $all != *_pm_settle$'\n'__bp_* || ${all##*_pm_settle$'\n'} == *[$'\n;']* ]] || return 0
  _pm_moved=1
  if [[ $(declare -p PROMPT_COMMAND 2>/dev/null) == 'declare -a'* ]]; then
    for index in "${!PROMPT_COMMAND[@]}"; do
      _pm_without "${PROMPT_COMMAND[index]}"
      PROMPT_COMMAND[index]=$all
    done
    _pm_with "$all"
    PROMPT_COMMAND[${index:-0}]=$all
  else
    _pm_without "${PROMPT_COMMAND-}"
    _pm_with "$all"
    PROMPT_COMMAND=$all
  fi
}

_pm_without() {  # sets all to a part of PROMPT_COMMAND without it
  all=${1//_pm_settle$'\n'/}
  all=${all//$'\n'_pm_settle/}
  [[ $all != _pm_settle ]] || all=
}

_pm_with() {  # sets all to the last part with it; before what bash-preexec has last, behind which it takes all for typed
  local last=${1##*[$'\n;']}
  last=${last#"${last%%[! ]*}"}
  if [[ $last == __bp_* ]]; then
    all=${1%"$last"}_pm_settle$'\n'$last
  else
    all=${1:+$1$'\n'}_pm_settle
  fi
}

_pm_base() {  # what is newest before a command is typed; that is not certain where shells share a history after it is seen
  local all=${PROMPT_COMMAND[*]}
  _pm_number=$number _pm_seen=$line _pm_top=$at _pm_sure=1
  [[ $at != 1 ]] || _pm_top=  # so it is with an empty history, too
  [[ $all != *history* || ( -z $_pm_moved && ${all##*_pm_settle} != *history* ) ]] || _pm_sure=
}

_pm_settle() {  # last: shells that share a history have read that of the others
  local code=$? number line at= fixed=
  local HISTTIMEFORMAT= 2>/dev/null || fixed=1
  [[ -z $_pm_times ]] || at='\!' at=${at@P}
  if [[ -z $at || $at != "$_pm_top" || ${PROMPT_COMMAND[*]} == *history* ]]; then
    _pm_newest
    _pm_base
  fi
  # Behind the last part bash itself brings the status back; returned once more, it would trap an error once more.
  [[ $- == *e* || ${PROMPT_COMMAND[*]} == *_pm_settle ]] || return "$code"
}

_pm_unmarked() {  # sets all to a prompt without the marks of this hook, of whichever version
  all=$1
  while [[ $all == *'${_pm_hook:$(('*':0}'* ]]; do
    all=${all%%'${_pm_hook:$(('*}${all#*'${_pm_hook:$(('*':0}'}
  done
}

_pm_marks() {  # when a command starts, and of how many lines it is; an arithmetic that is expanded shows nothing
  local all
  _pm_times=
  [[ -n ${EPOCHREALTIME-} ]] && shopt -q promptvars && _pm_times=1
  if [[ -z $_pm_times ]]; then
    [[ ${PS0-} != *'${_pm_hook:'* ]] || { _pm_unmarked "$PS0"; PS0=$all; }
  elif [[ ${PS0-} != *_pm_at=* ]]; then
    _pm_unmarked "${PS0-}"
    PS0='${_pm_hook:$((_pm_started=${EPOCHREALTIME/[.,]/},_pm_at=\!,0)):0}'$all
  fi
  # Only where it is asked for, and never handed on to other programs, which show it or fail.
  if [[ -n $_pm_times && -n ${PS2+set} && ${PS2@a} != *x* ]] && ! shopt -q cmdhist; then
    [[ $PS2 == *_pm_more+=* ]] || { _pm_unmarked "$PS2"; PS2='${_pm_hook:$((_pm_more+=1,0)):0}'$all; }
  elif [[ ${PS2-} == *'${_pm_hook:'* ]]; then
    _pm_unmarked "$PS2"
    PS2=$all
  fi
}

_pm_next() {
  local item
  if (( ! ${#_pm_choices[@]} )) || [[ $READLINE_LINE != "$_pm_shown" ]]; then
    _pm_typed=$READLINE_LINE _pm_index=0 _pm_choices=() _pm_losing=()
    [[ ${PROCEDURAL_MEMORY_DISABLE:-0} == 0 ]] || return 0
    # Each is one line; a process substitution would change $!.
    while IFS= read -r item; do
      [[ -z $item ]] || { _pm_choices+=("${item:1}") _pm_losing+=("${item:0:1}"); }
    done <<<"$(_PM_CWD=$PWD _PM_TYPED=$_pm_typed _PM_RECENT=$(IFS=$'\x1f'; printf %s "${_pm_recent[*]}") _pm_call 0 suggest 2>/dev/null | tr '\0' '\n')"
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

_pm_marks
# First: it wants the exit status.
if [[ $(declare -p PROMPT_COMMAND 2>/dev/null) == 'declare -a'* ]]; then
  [[ " ${PROMPT_COMMAND[*]} " == *' _pm_prompt '* ]] || PROMPT_COMMAND=(_pm_prompt "${PROMPT_COMMAND[@]}")
else
  [[ ${PROMPT_COMMAND-} == *_pm_prompt* ]] || PROMPT_COMMAND="_pm_prompt${PROMPT_COMMAND:+;$PROMPT_COMMAND}"
fi
_pm_end
for _pm_keys in emacs vi-insert vi-command; do
  bind -m "$_pm_keys" -x '"@KEY@": _pm_next'
  bind -m "$_pm_keys" -x '"@SECOND@": _pm_take'
done
unset _pm_keys

fi
