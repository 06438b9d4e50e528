#!/usr/bin/env bash
# Installs TecMedHub into the Moonraker of this machine, or takes it out again: `./install.sh --help`.
#
# What it does is little enough to be done by hand: one symbolic link in Moonraker's components folder, one line in
# the exclude file of Moonraker's git checkout, and two sections at the end of moonraker.conf. Everything that is added
# to a file stands between two marks, so that --uninstall gives the file back byte for byte. Besides, the plugin is
# compiled in its own folder, which Python would do at the first start; --uninstall removes that too.
set -Eeuo pipefail
shopt -s nullglob
unset CDPATH GREP_OPTIONS

usage() {
    cat <<'TEXT'
Usage: ./install.sh [options]

Without options: finds Moonraker and its instances (systemd's unit files, then the usual folders), links the plugin,
adds its sections to each moonraker.conf (after a backup), and asks before it restarts Moonraker.

  -m, --moonraker DIR    Moonraker's checkout, or its installed package (…/site-packages/moonraker); repeatable
  -d, --data DIR         a data path, such as ~/printer_data; repeatable, one for each instance
      --uninstall        take everything out again; the plugin's own data stay
      --purge            with --uninstall: also delete <data path>/tecmedhub, after asking
      --no-update-manager  do not add [update_manager tecmedhub]: you will update with `git pull`
      --restart          restart Moonraker without asking, even where it cannot be asked whether it is printing
      --no-restart       do not restart Moonraker, and do not ask
  -y, --yes              answer yes to every question
  -n, --dry-run          say what would be done, and change nothing
  -h, --help             this text

Moonraker is never restarted while it is printing. Safe to run again at any time: what is there stays as it is.
TEXT
}

# --- Saying and asking -------------------------------------------------------------------------------------------

bold='' red='' yellow='' green='' plain=''
if [[ -t 1 && -z ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]]; then
    bold=$'\e[1m' red=$'\e[31m' yellow=$'\e[33m' green=$'\e[32m' plain=$'\e[0m'
fi

say() { printf '%s\n' "$*"; }
note() { printf '%sNote:%s %s\n' "$yellow" "$plain" "$*"; }
die() {
    printf '%sError:%s %s\n' "$red" "$plain" "$*" >&2
    exit 1
}
trap 'die "line $LINENO failed: $BASH_COMMAND. Nothing after it was done; mend the cause and run this again."' ERR

# PAST BASE REST...: one change, in the tense that fits: "Linked …", or in a dry run "Would link …".
report() {
    if $dry_run; then printf '%sWould %s%s %s\n' "$bold" "$2" "$plain" "${*:3}"
    else printf '%s%s%s %s\n' "$green" "$1" "$plain" "${*:3}"; fi
}

# QUESTION DEFAULT(y|n): true for yes. Without a terminal nobody can be asked, and only --yes is a yes.
ask() {
    local answer hint='[y/N]'
    $yes && return 0
    [[ -t 0 ]] || return 1
    [[ $2 == y ]] && hint='[Y/n]'
    read -r -p "$1 $hint " answer || answer=''
    [[ ${answer:-$2} == [yYsS]* ]]
}

# --- The command line --------------------------------------------------------------------------------------------

dry_run=false yes=false uninstall=false purge=false updates=true restart=ask
wanted_sources=() wanted_data=()

while (($#)); do
    case $1 in
        -m | --moonraker | -d | --data)
            [[ -n ${2:-} ]] || die "$1 needs a folder after it."
            case $1 in -m | --moonraker) wanted_sources+=("$2") ;; *) wanted_data+=("$2") ;; esac
            shift ;;
        --moonraker=*) wanted_sources+=("${1#*=}") ;;
        --data=*) wanted_data+=("${1#*=}") ;;
        --uninstall) uninstall=true ;;
        --purge) purge=true ;;
        --no-update-manager) updates=false ;;
        --restart) restart=always ;;
        --no-restart) restart=never ;;
        -y | --yes) yes=true ;;
        -n | --dry-run) dry_run=true ;;
        -h | --help) usage; exit 0 ;;
        *) printf '%sError:%s unknown option %s; --help lists them.\n' "$red" "$plain" "$1" >&2; exit 2 ;;
    esac
    shift
done
if $purge && ! $uninstall; then die "--purge deletes the plugin's data and goes only together with --uninstall."; fi

if [[ -n ${SUDO_USER:-} && $SUDO_USER != root ]]; then
    die "do not use sudo: the files would belong to root and Moonraker could not update them. Run ./install.sh as $SUDO_USER."
fi

repo=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
[[ $repo != *$'\n'* ]] || die "the folder $repo has a line break in its name: move it."
[[ -f $repo/components/__init__.py ]] || die "$repo is incomplete (no components folder): clone it again."
me=$(id -un 2>/dev/null || printf '%s' "$EUID")
scratch=$(mktemp -d)
half_written=''
trap 'rm -rf -- "$scratch"; [[ -z $half_written ]] || rm -f -- "$half_written"' EXIT

# --- Finding Moonraker -------------------------------------------------------------------------------------------

sources=()                                     # Moonraker's package folders, where components/ lies
confs=() datas=() units=() scopes=()           # one of each for each instance; a unit only where one is known
other_confs=() other_sources=()                # instances that -d leaves out; a source only where one is known

add_source() {
    local known
    for known in "${sources[@]}"; do [[ $known != "$1" ]] || return 0; done
    sources+=("$1")
}

add_instance() {  # CONF DATA UNIT SCOPE
    local known
    for known in "${confs[@]}"; do [[ ! $known -ef $1 ]] || return 0; done
    confs+=("$1") datas+=("$2") units+=("$3") scopes+=("$4")
}

# The package folder in DIR: a checkout, the package itself, a site-packages folder, or a virtual environment.
package_in() {
    local candidate
    for candidate in "$1"/moonraker "$1" "$1"/lib/python3*/site-packages/moonraker "$1"/lib/python3*/dist-packages/moonraker; do
        if [[ -f $candidate/server.py && -d $candidate/components ]]; then
            (cd -- "$candidate" && pwd -P)
            return
        fi
    done
    return 1
}

# The value of one variable in the text of an environment file, or of a unit's Environment= lines.
variable() {
    local line value=''
    while IFS= read -r line; do
        line=${line%$'\r'}
        if [[ $line =~ ^[[:space:]]*(Environment=)?\"?$1=(.*)$ ]]; then
            value=${BASH_REMATCH[2]}
            value=${value%"${value##*[![:space:]]}"}
            value=${value#[\"\']} value=${value%[\"\']}
        fi
    done <<<"$2"
    printf '%s' "$value"
}

# ENVIRONMENT EXECSTART: how a Moonraker is started -> launch_source, launch_data, launch_conf (each may be empty).
read_launch() {
    local environment=$1 words=() word previous='' args path
    launch_source='' launch_data=$(variable MOONRAKER_DATA_PATH "$environment")
    launch_conf=$(variable MOONRAKER_CONFIG_PATH "$environment")
    args=$(variable MOONRAKER_ARGS "$environment")
    path=$(variable PYTHONPATH "$environment")
    # xargs splits as systemd does, quotes included.
    mapfile -t words < <(printf '%s %s\n' "${2//\$\{MOONRAKER_ARGS\}/}" "$args" | xargs -n 1 printf '%s\n' 2>/dev/null)
    for word in "${words[@]}"; do
        word=${word//%h/$HOME}
        case $previous in
            -d | --datapath) launch_data=$word ;;
            -c | --configfile) launch_conf=$word ;;
            *) case $word in
                --datapath=*) launch_data=${word#*=} ;;
                --configfile=*) launch_conf=${word#*=} ;;
                */moonraker/moonraker.py) launch_source=$(package_in "${word%/moonraker.py}" || true) ;;
                */bin/python* | */bin/moonraker)
                    [[ -n $launch_source ]] || launch_source=$(package_in "${word%/bin/*}" || true) ;;
            esac ;;
        esac
        previous=$word
    done
    [[ -z $path ]] || launch_source=$(package_in "${path//%h/$HOME}" || printf '%s' "$launch_source")
    launch_data=${launch_data//%h/$HOME} launch_data=${launch_data/#\~/$HOME}
}

# All of systemd's units that start a Moonraker as this user.
find_units() {
    local folder scope unit text exec_start user file environment folders=() others=()
    IFS=: read -r -a folders <<<"${SYSTEMD_UNIT_PATH:-/etc/systemd/system:/run/systemd/system:/usr/local/lib/systemd/system:/usr/lib/systemd/system:/lib/systemd/system}"
    for folder in "${folders[@]}" "$HOME/.config/systemd/user" /etc/systemd/user; do
        scope=system
        [[ $folder != */user ]] || scope=user
        for unit in "$folder"/*moonraker*.service; do
            text=$(cat -- "$unit" "$unit".d/*.conf 2>/dev/null | tr -d '\r') || continue
            exec_start=$(sed -n 's/^ExecStart=[-@:+!]*//p' <<<"$text" | tail -n 1)
            environment=$text
            while IFS= read -r file; do
                file=${file#-} file=${file//%h/$HOME}
                [[ -r $file ]] && environment+=$'\n'$(<"$file")
            done < <(sed -n 's/^EnvironmentFile=//p' <<<"$text")
            # Others carry its name too (moonraker-obico, moonraker-telegram-bot): only what starts the package counts.
            [[ "$exec_start $environment" =~ (moonraker\.py|-m[[:space:]]+moonraker([[:space:]\"]|$)|/bin/moonraker|MOONRAKER_(ARGS|DATA_PATH)) ]] || continue
            read_launch "$environment" "$exec_start"
            user=$(sed -n 's/^User=//p' <<<"$text" | tail -n 1)
            if [[ $scope == system && ${user:-root} != "$me" && $EUID -ne 0 ]]; then
                others+=("${unit##*/} (runs as ${user:-root})")
                continue
            fi
            offer "$launch_source" "${launch_data:-$HOME/printer_data}" "$launch_conf" "${unit##*/}" "$scope"
        done
    done
    ((${#others[@]} == 0)) || note "left alone, because you are $me: ${others[*]}."
}

find_folders() {
    local base conf data file environment
    for base in "$HOME" /usr/data; do  # /usr/data: images of printers that know no user but root
        [[ $base == "$HOME" || $EUID -eq 0 ]] || continue
        for conf in "$base"/*_data/config/moonraker.conf; do
            data=${conf%/config/moonraker.conf}
            environment='' file=$data/systemd/moonraker.env
            [[ ! -r $file ]] || environment=$(<"$file")
            read_launch "$environment" ''
            [[ -n $launch_source ]] || launch_source=$(usual_source "$base" || true)
            offer "$launch_source" "$data" "$launch_conf" '' ''
        done
    done
}

usual_source() {
    local folder
    for folder in "$1/moonraker" "$1/moonraker-env" "$1"/*/moonraker "$1/.local"; do
        package_in "$folder" && return
    done
    return 1
}

# SOURCE DATA CONF UNIT SCOPE: takes an instance that was found, where it fits what -m and -d ask for.
offer() {
    local source=$1 data=$2 conf=${3:-$2/config/moonraker.conf} wanted fits
    if ((${#wanted_sources[@]})) && [[ -n $source ]]; then
        fits=false
        for wanted in "${sources[@]}"; do [[ $wanted != "$source" ]] || fits=true; done
        $fits || return 0
    fi
    if ((${#wanted_data[@]})); then
        fits=false
        for wanted in "${wanted_data[@]}"; do [[ ! $wanted -ef $data ]] || fits=true; done
        $fits || { other_confs+=("$conf") other_sources+=("$source"); return 0; }
    fi
    [[ -f $conf ]] || { note "$data has no moonraker.conf: skipped."; return 0; }
    if [[ -n $source ]] && ! ((${#wanted_sources[@]})); then add_source "$source"; fi
    add_instance "$conf" "$(cd -- "$data" 2>/dev/null && pwd -P || printf '%s' "$data")" "$4" "$5"
}

find_moonraker() {
    local folder package data known
    for folder in "${wanted_sources[@]}"; do
        package=$(package_in "$folder") \
            || die "$folder holds no Moonraker: give -m its checkout (with moonraker/server.py in it) or its installed package."
        add_source "$package"
    done
    for folder in "${wanted_data[@]}"; do
        [[ -d $folder ]] || die "the data path $folder does not exist: give -d the folder that holds config/moonraker.conf."
    done
    # Even where all is told: a unit that belongs to it is worth knowing, for its moonraker.conf and the restart.
    find_units
    for folder in "${wanted_data[@]}"; do
        known=false
        for data in "${datas[@]}"; do [[ ! $data -ef $folder ]] || known=true; done
        $known && continue
        [[ -f $folder/config/moonraker.conf ]] \
            || die "$folder/config/moonraker.conf does not exist: start Moonraker once with that data path, or give -d another."
        offer '' "$folder" '' '' ''
    done
    if ((${#confs[@]} == 0)) || { $uninstall && ((${#wanted_data[@]})); }; then find_folders; fi
    if ((${#sources[@]} == 0)); then
        package=$(usual_source "$HOME" || usual_source /usr/data || true)
        [[ -z $package ]] || add_source "$package"
    fi
    if ((${#sources[@]} == 0)) && ! $uninstall; then
        die "found no Moonraker: tell where it is, for example ./install.sh -m ~/moonraker -d ~/printer_data"
    fi
    ((${#confs[@]})) || die "found no moonraker.conf: tell the data path, for example ./install.sh -d ~/printer_data"
}

# --- Reading moonraker.conf --------------------------------------------------------------------------------------

# What Moonraker reads in a file and all that it includes, as "section TAB name TAB file" and "server TAB option TAB
# value". Follows Moonraker's own reader: a line indented deeper than its option belongs to that option's value.
scan() {
    local file=$1 kind first second found seen=${2:-}
    [[ $seen != *"|$file|"* && -r $file ]] || return 0
    seen+="|$file|"
    while IFS=$'\t' read -r kind first second; do
        if [[ $kind == include ]]; then
            while IFS= read -r found; do scan "$found" "$seen"; done < <(
                shopt -s globstar dotglob
                IFS=
                [[ $first == /* ]] || cd -- "$(dirname -- "$file")" || exit 0
                # shellcheck disable=SC2231  # meant: a pattern, with blanks in it or not
                for found in $first; do [[ -f $found ]] && printf '%s\n' "$(cd -- "$(dirname -- "$found")" && pwd -P)/${found##*/}"; done
            )
        elif [[ $kind == section ]]; then
            printf 'section\t%s\t%s\n' "$first" "$file"
        else
            printf 'server\t%s\t%s\n' "$first" "$second"
        fi
    done < <(LC_ALL=C awk '
        BEGIN { option_indent = -1 }
        { sub(/\r$/, ""); gsub(/\t/, "    ") }
        /^ *$/ || /^ *[#;]/ { next }
        {
            sub(/ +[#;].*$/, "")
            match($0, /^ */); indent = RLENGTH
            if (option_indent >= 0 && indent > option_indent) next
            if (match($0, /^ *\[[^]]+\]/)) {
                option_indent = -1
                name = substr($0, 1, RLENGTH); sub(/^ *\[ */, "", name); sub(/ *\]$/, "", name)
                if (name ~ /^include /) { sub(/^include +/, "", name); print "include\t" name; next }
                gsub(/ +/, " ", name); section = name
                print "section\t" name
                next
            }
            option_indent = indent
            if (section == "server" && match($0, /[:=]/)) {
                name = substr($0, 1, RSTART - 1); value = substr($0, RSTART + 1)
                gsub(/^ +| +$/, "", name); gsub(/^ +| +$/, "", value)
                print "server\t" name "\t" value
            }
        }' "$file")
}

# CONF SECTION: the file that has the section, or nothing.
section_file() { scan "$1" | LC_ALL=C awk -F '\t' -v name="$2" '$1 == "section" && $2 == name && !done { print $3; done = 1 }'; }
server_option() { scan "$1" | LC_ALL=C awk -F '\t' -v name="$2" '$1 == "server" && $2 == name { last = $3 } END { print last }'; }

# --- Changing files ----------------------------------------------------------------------------------------------

opening='# >>> TecMedHub >>> (install.sh --uninstall removes everything up to the closing mark)'
closing='# <<< TecMedHub <<<'

first_line() {  # FILE PREFIX FROM: number of the first line, at FROM or later, that starts with PREFIX
    LC_ALL=C awk -v prefix="$2" -v from="$3" 'NR >= from && index($0, prefix) == 1 && !done { print NR; done = 1 }' "$1"
}

ends_in_newline() { [[ ! -s $1 || -z $(tail -c 1 -- "$1" | tr -d '\n') ]]; }

# FILE TEXT OUT: FILE with TEXT between the marks at its end. Its kind of line end, and whether the last line has one,
# stay as they were: that is how without_blocks knows what to give back.
with_block() {
    local file=$1 text=$2 out=$3 eol=$'\n' last
    if [[ -s $file ]] && head -n 1 -- "$file" | grep -q $'\r$'; then eol=$'\r\n'; fi
    text=$opening$'\n'$text$'\n'$closing
    last=$eol
    {
        if [[ -e $file ]]; then
            cat -- "$file"
            if ! ends_in_newline "$file"; then printf '%s' "$eol"; last=''; fi
            printf '%s' "$eol"
        fi
        printf '%s%s' "${text//$'\n'/$eol}" "$last"
    } >"$out"
}

# FILE OUT: FILE without any of our blocks; false when it has none.
without_blocks() {
    local file=$1 out=$2 first last keep cut found=false
    cat -- "$file" >"$out"
    while first=$(first_line "$out" "${opening%% (*}" 1) && [[ -n $first ]]; do
        last=$(first_line "$out" "$closing" "$first")
        [[ -n $last ]] || die "$file has our opening mark in line $first, but no closing mark: remove our lines by hand, then run this again."
        keep=$((first - 1))
        if ((keep > 0)) && [[ -z $(sed -n "${keep}p" "$out" | tr -d '\r\n') ]]; then keep=$((keep - 1)); fi
        head -n "$keep" -- "$out" >"$scratch/head"
        tail -n "+$((last + 1))" -- "$out" >"$scratch/tail"
        cut=0
        if [[ ! -s $scratch/tail ]] && ! ends_in_newline "$out"; then
            cut=1
            [[ $(tail -c 2 -- "$scratch/head") != $'\r'* ]] || cut=2
        fi
        head -c "$(($(wc -c <"$scratch/head") - cut))" -- "$scratch/head" | cat - "$scratch/tail" >"$out"
        found=true
    done
    $found
}

# TARGET NEW: puts the content of NEW in TARGET's place in one step; its owner and mode stay, a link stays a link.
replace() {
    local target
    target=$(readlink -f -- "$1")
    half_written=$(mktemp -- "${target%/*}/.${target##*/}.XXXXXX")
    if [[ -e $target ]]; then cp -p -- "$target" "$half_written"; else chmod 644 "$half_written"; fi
    cat -- "$2" >"$half_written"
    mv -f -- "$half_written" "$target"
    half_written=''
}

# FILE: a dated copy beside it. Its name does not end in .conf, so that no [include *.conf] reads it.
back_up() {
    local target copy
    target=$(readlink -f -- "$1")
    copy=$target.$(date +%Y%m%d-%H%M%S).bak
    while [[ -e $copy ]]; do copy=${copy%.bak}+.bak; done
    $dry_run || cp -p -- "$target" "$copy"
    report Saved save "a copy as $copy"
}

# Root may write anywhere, so the write bits count, not only what the system would allow.
require_writable() {  # FILE
    local target folder
    target=$(readlink -f -- "$1") || target=$1
    folder=${target%/*}
    if [[ -e $target ]]; then
        if (((8#$(stat -c %a -- "$target") & 8#222) == 0)); then
            die "$1 is write-protected: allow changes with  chmod u+w '$target'  and run this again."
        fi
        [[ -w $target ]] || die "$me may not write $1: run this as its owner, $(stat -c %U -- "$target")."
    fi
    [[ -w $folder ]] || die "$me may not write in $folder: run this as its owner, $(stat -c %U -- "$folder")."
}

require_owner() {  # PATH: root must not leave its files in the folders of the user that Moonraker runs as
    local owner
    owner=$(stat -Lc %U -- "$1")
    if [[ $EUID -eq 0 && $(stat -Lc %u -- "$1") -ne 0 ]]; then
        die "$1 belongs to $owner, and you are root: run ./install.sh as $owner."
    fi
}

# --- The three parts: link, exclude line, sections ----------------------------------------------------------------

changed=false new_section=false

link_of() { printf '%s/components/tecmedhub' "$1"; }

check_link() {  # PACKAGE
    local link
    link=$(link_of "$1")
    require_owner "$1/components"
    if [[ -e $link && ! -L $link ]]; then
        die "$link is in the way (not a link): move it elsewhere and run this again."
    fi
    if [[ $(readlink -- "$link" || true) != "$repo/components" || $uninstall == true ]]; then
        [[ -w $1/components ]] || die "$me may not write in $1/components: run this as its owner, $(stat -c %U -- "$1/components")."
    fi
}

add_link() {  # PACKAGE
    local link before
    link=$(link_of "$1")
    before=$(readlink -- "$link" || true)
    if [[ $before == "$repo/components" ]]; then
        say "The link $link is there."
        return
    fi
    $dry_run || ln -sfn -- "$repo/components" "$link"
    report Linked link "$link -> $repo/components${before:+ (it was $before)}"
    changed=true
}

remove_link() {  # PACKAGE
    local link
    link=$(link_of "$1")
    [[ -L $link ]] || return 0
    $dry_run || rm -- "$link"
    report Removed remove "the link $link"
    changed=true
}

# PACKAGE: the exclude file of the checkout that the package lies in (worktrees have theirs elsewhere); fails where it
# is no checkout of Moonraker's own.
exclude_file() {
    local top=${1%/*} path
    [[ -e $top/.git && ${1##*/} == moonraker ]] || return 1
    if command -v git >/dev/null && path=$(git -C "$top" rev-parse --git-path info/exclude 2>/dev/null); then
        [[ $path == /* ]] || path=$top/$path
    else
        path=$top/.git/info/exclude
    fi
    [[ -d ${path%/info/exclude} ]] || return 1
    printf '%s' "$path"
}

add_exclude() {  # PACKAGE
    local file line='/moonraker/components/tecmedhub'
    file=$(exclude_file "$1") || return 0
    if [[ -f $file ]] && grep -qxF -- "$line" <(tr -d '\r' <"$file"); then return 0; fi
    require_writable_or_new "$file"
    if ! $dry_run; then
        mkdir -p -- "${file%/*}"
        with_block "$file" "$line" "$scratch/new"
        replace "$file" "$scratch/new"
    fi
    report Added add "the link to $file, so that git and Moonraker's update manager see a clean checkout"
}

require_writable_or_new() { [[ ! -e $1 && ! -d ${1%/*} ]] || require_writable "$1"; }

remove_exclude() {  # PACKAGE
    local file
    file=$(exclude_file "$1") || return 0
    [[ -f $file ]] || return 0
    without_blocks "$file" "$scratch/new" || return 0
    require_writable "$file"
    if ! $dry_run; then
        # A file that starts with our mark is one that we made.
        if [[ ! -s $scratch/new && $(first_line "$file" "${opening%% (*}" 1) == 1 ]]; then
            rm -- "$file"
            rmdir -- "${file%/*}" 2>/dev/null || true
        else
            replace "$file" "$scratch/new"
        fi
    fi
    report Removed remove "our line in $file"
    changed=true
}

# PACKAGE: the interpreter of the virtual environment that this Moonraker usually runs in, or nothing.
python_of() {
    local python
    for python in "${1%/lib/python3*}/bin/python" "${1%/*/*}/moonraker-env/bin/python"; do
        if [[ -x $python ]]; then printf '%s' "$python"; return; fi
    done
}

# PACKAGE: compile the plugin, which Moonraker would otherwise do in its first start, with all else waiting for it.
# A favour only: whatever fails here, Moonraker does then.
compile() {
    local python
    python=$(python_of "$1")
    [[ -n $python && -w $repo/components ]] && ! $dry_run || return 0
    (cd / && nice -n 19 "$python" -m compileall -q "$repo/components") >/dev/null 2>&1 || true
}

remove_compiled() {
    $dry_run || find "$repo/components" -depth -type d -name __pycache__ -exec rm -rf -- {} + 2>/dev/null || true
}

# The address that Moonraker's update manager fetches from, or the reason why there is none.
find_origin() {
    origin='' no_origin=''
    if [[ $(git -C "$repo" rev-parse --show-toplevel 2>/dev/null || true) != "$repo" ]]; then
        no_origin="$repo is not a git checkout of its own"
    elif ! origin=$(git -C "$repo" remote get-url origin 2>/dev/null); then
        no_origin="the checkout $repo has no remote named origin"
    elif [[ $repo == *[[:space:]\"\'\\]* ]]; then
        # It builds its git commands from the bare path (0.9.3 to 0.11.0).
        origin='' no_origin="Moonraker's update manager cannot work in a folder with blanks or quotes in its path, such as $repo"
    elif [[ $origin =~ ://[^/@]*:[^/@]*@ ]]; then
        origin='' no_origin="the address of its remote holds a password, which does not belong in moonraker.conf"
    fi
}

# CONF: the text of the sections that it lacks; nothing when it has them all.
missing_sections() {
    local text=''
    if [[ -z $(section_file "$1" tecmedhub) ]]; then
        text="[tecmedhub]
# The hub's address, the token it knows this printer by, and the name it shows. The token can also be written as
# {secrets.tecmedhub.token}. Every other option, with its default, is described in moonraker.conf.example of the plugin.
server_url:
printer_token:
printer_name:"
    fi
    if $updates && [[ -n $origin && -z $(section_file "$1" 'update_manager tecmedhub') ]]; then
        text+="${text:+$'\n\n'}[update_manager tecmedhub]
type: git_repo
path: $repo
origin: $origin
primary_branch: main
managed_services: moonraker
is_system_service: False"
    fi
    printf '%s' "$text"
}

add_sections() {  # CONF
    local conf=$1 text names before
    text=$(missing_sections "$conf")
    if [[ -z $text ]]; then
        say "The sections in $conf are there."
        return
    fi
    require_writable "$conf"
    before=true
    scan "$conf" | grep -q "^section"$'\t'"update_manager" || before=false
    back_up "$conf"
    if ! $dry_run; then
        with_block "$conf" "$text" "$scratch/new"
        replace "$conf" "$scratch/new"
    fi
    names=$(sed -n 's/^\(\[.*\]\)$/\1/p' <<<"$text" | paste -sd ' ' -)
    report Added add "$names to $conf"
    changed=true
    [[ $text != "[tecmedhub]"* ]] || new_section=true
    if [[ $text == *'[update_manager '* && $before == false ]]; then
        note "this switches on Moonraker's update manager, which $conf did not use; --no-update-manager leaves it off."
    fi
}

remove_sections() {  # CONF
    local conf=$1 name file
    if without_blocks "$conf" "$scratch/new"; then
        require_writable "$conf"
        back_up "$conf"
        $dry_run || replace "$conf" "$scratch/new"
        report Removed remove "our sections from $conf"
        changed=true
    fi
    $dry_run && return
    for name in tecmedhub 'update_manager tecmedhub'; do
        file=$(section_file "$conf" "$name")
        [[ -z $file ]] || note "[$name] in $file was not written by install.sh and stays: remove it by hand, or Moonraker will report it as failed."
    done
}

# PACKAGE: the moonraker.conf of an instance that stays and needs the link, or nothing.
needed_by() {
    local index
    for index in "${!other_confs[@]}"; do
        [[ -z ${other_sources[index]} || ${other_sources[index]} == "$1" ]] || continue
        if [[ -n $(section_file "${other_confs[index]}" tecmedhub) ]]; then
            printf '%s' "${other_confs[index]}"
            return
        fi
    done
}

# --- Asking Moonraker, and restarting it --------------------------------------------------------------------------

moonraker_url() {  # CONF
    local host port
    host=$(server_option "$1" host)
    port=$(server_option "$1" port)
    case $host in '' | 0.0.0.0 | all | '::' | localhost) host=127.0.0.1 ;; *:*) host="[$host]" ;; esac
    [[ $port =~ ^[0-9]+$ ]] || port=7125
    printf 'http://%s:%s' "$host" "$port"
}

http() {  # METHOD URL: the body of a 2xx answer
    if command -v curl >/dev/null; then
        curl --silent --fail --max-time 5 --noproxy '*' --request "$1" "$2"
    elif command -v python3 >/dev/null; then
        python3 -c 'import sys, urllib.request as u
request = u.Request(sys.argv[2], method=sys.argv[1])
print(u.build_opener(u.ProxyHandler({})).open(request, timeout=5).read().decode())' "$1" "$2" 2>/dev/null
    else
        return 1
    fi
}

# URL: "busy" (printing or paused), "idle", or "unknown" where Moonraker cannot or will not say.
activity() {
    local info state
    if info=$(http GET "$1/server/info") && [[ $info =~ \"klippy_state\":\ *\"([a-z]+)\" ]]; then
        case ${BASH_REMATCH[1]} in
            ready)
                if state=$(http GET "$1/printer/objects/query?print_stats=state") && [[ $state =~ \"state\":\ *\"([a-z]+)\" ]]; then
                    case ${BASH_REMATCH[1]} in printing | paused) echo busy ;; *) echo idle ;; esac
                    return
                fi ;;
            shutdown | error | disconnected) echo idle; return ;;  # no Klipper that could print
        esac
    fi
    echo unknown
}

# URL: "loaded", "failed", "absent" or "unknown": how the running Moonraker stands to the plugin.
plugin_state() {
    local info
    info=$(http GET "$1/server/info") || { echo unknown; return; }
    if [[ $info =~ \"failed_components\":\ *\[[^]]*\"tecmedhub\" ]]; then echo failed
    elif [[ $info =~ \"components\":\ *\[[^]]*\"tecmedhub\" ]]; then echo loaded
    else echo absent; fi
}

# UNIT SCOPE URL
restart_moonraker() {
    local unit=$1 scope=$2 url=$3
    if [[ -n $unit && -d /run/systemd/system ]] && command -v systemctl >/dev/null; then
        if [[ $scope == user ]]; then systemctl --user restart "$unit" && return
        elif [[ $EUID -eq 0 ]]; then systemctl restart "$unit" && return
        elif sudo -n systemctl restart "$unit" 2>/dev/null; then return
        elif [[ -t 0 ]] && command -v sudo >/dev/null; then sudo systemctl restart "$unit" && return; fi
    fi
    http POST "$url/server/restart" >/dev/null
}

offer_restart() {  # INDEX
    local conf=${confs[$1]} unit=${units[$1]} scope=${scopes[$1]} url doing state wanted_state=loaded how tries
    url=$(moonraker_url "$conf")
    how="restart Moonraker from Mainsail's or Fluidd's power menu${unit:+, or with: sudo systemctl restart ${unit%.service}}"
    $uninstall && wanted_state=absent
    state=$(plugin_state "$url")
    if ! $changed && [[ $state == "$wanted_state" || $state == unknown ]]; then return 0; fi
    if [[ $restart == never ]]; then
        say "Moonraker at $url was not restarted (--no-restart); the change takes effect when you $how."
        return
    fi
    doing=$(activity "$url")
    if [[ $doing == busy ]]; then
        note "Moonraker at $url is printing and is left alone; when the print is over, $how."
        return
    fi
    if $dry_run; then
        if [[ $doing == unknown && $restart != always ]]; then say "Would not restart Moonraker at $url: it does not say whether it is printing."
        else report '' ask "to restart Moonraker at $url"; fi
        return
    fi
    if [[ $doing == unknown && $restart != always ]]; then
        # --yes is no answer to this one: nobody looked at the printer.
        if $yes || ! [[ -t 0 ]] || ! ask "Moonraker at $url does not say whether it is printing. Restart it all the same?" n; then
            note "Moonraker at $url does not say whether it is printing and was not restarted; when nothing prints, $how."
            return
        fi
    elif [[ $restart != always ]] && ! ask "Restart Moonraker at $url now?" y; then
        say "Moonraker at $url was not restarted; the change takes effect when you $how."
        return
    fi
    if ! restart_moonraker "$unit" "$scope" "$url"; then
        note "Moonraker at $url could not be restarted from here; $how."
        return
    fi
    for ((tries = 60; tries > 0; tries--)); do
        state=$(plugin_state "$url")
        if [[ $state == "$wanted_state" || $state == failed ]]; then break; fi
        sleep 0.5
    done
    case $state in
        "$wanted_state") report Restarted restart "Moonraker at $url: the plugin is $state." ;;
        failed) note "Moonraker at $url restarted, but could not load the plugin: its log, moonraker.log, says why." ;;
        *) note "Moonraker at $url was told to restart and is not back after 30 s: look at moonraker.log." ;;
    esac
}

purge_data() {  # INDEX
    local folder=${datas[$1]}/tecmedhub
    if [[ ! -d $folder || -L $folder ]]; then return 0; fi
    if [[ $(plugin_state "$(moonraker_url "${confs[$1]}")") == loaded ]] && ! $dry_run; then
        note "$folder stays, because the running Moonraker still uses it: restart Moonraker, then run ./install.sh --uninstall --purge again."
        return
    fi
    if $dry_run; then
        report '' ask "to delete $folder"
    elif ask "Delete $folder ($(du -sh -- "$folder" | cut -f1): command history, statistics, pictures)?" n; then
        rm -rf -- "$folder"
        report Deleted delete "$folder"
    else
        say "$folder stays."
    fi
}

# --- What is done, in order ---------------------------------------------------------------------------------------

find_moonraker
for package in "${sources[@]}"; do check_link "$package"; done
for conf in "${confs[@]}"; do require_owner "$conf"; done
find_origin

if $uninstall; then
    # The sections first: a section without its plugin is an error to Moonraker, a link without a section is not.
    for conf in "${confs[@]}"; do remove_sections "$conf"; done
    for package in "${sources[@]}"; do
        other=$(needed_by "$package")
        if [[ -n $other ]]; then
            say "The link $(link_of "$package") stays: $other uses it, too."
            continue
        fi
        remove_link "$package"
        remove_exclude "$package"
        remove_compiled
    done
    $changed || say "There is nothing to remove."
else
    for conf in "${confs[@]}"; do  # before anything is changed
        [[ -z $(missing_sections "$conf") ]] || require_writable "$conf"
    done
    for package in "${sources[@]}"; do
        add_exclude "$package"
        add_link "$package"
        compile "$package"
    done
    for conf in "${confs[@]}"; do add_sections "$conf"; done
    if $updates && [[ -z $origin ]]; then
        note "no [update_manager tecmedhub] section, since $no_origin; mend that and run this again to update the plugin from Mainsail or Fluidd."
    fi
fi

for index in "${!confs[@]}"; do offer_restart "$index"; done
if $purge; then
    for index in "${!confs[@]}"; do purge_data "$index"; done
fi

if $dry_run; then
    say "Nothing was changed (--dry-run)."
elif $new_section; then
    say "Next, once Moonraker has restarted: open tecmedhub.json in Mainsail or Fluidd, enter server_url and printer_token, and save."
fi
