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

language=en
case ${LC_ALL:-${LC_MESSAGES:-${LANG:-}}} in es*) language=es ;; esac

usage() {
    if [[ $language == es ]]; then usage_es; return; fi
    cat <<'TEXT'
Usage: ./install.sh [options]

Without options: finds Moonraker and its instances (systemd's unit files, then the usual folders), links the plugin,
adds its sections to each moonraker.conf (after a backup), and asks before it restarts Moonraker.

  -m, --moonraker DIR    Moonraker's checkout, or its installed package (…/site-packages/moonraker); repeatable
  -d, --data DIR         a data path, such as ~/printer_data; repeatable, one for each instance
      --uninstall        take everything out again; the plugin's own data stay
      --purge            with --uninstall: also delete <data path>/tecmedhub, after asking
      --no-sidebar       do not add the panel to Mainsail's sidebar, and do not ask
      --no-update-manager  do not add [update_manager tecmedhub]: you will update with `git pull`
      --restart          restart Moonraker without asking, even where it cannot be asked whether it is printing
      --no-restart       do not restart Moonraker, and do not ask
  -y, --yes              answer yes to every question
  -n, --dry-run          say what would be done, and change nothing
  -h, --help             this text

Moonraker is never restarted while it is printing. Safe to run again at any time: what is there stays as it is.
TEXT
}

usage_es() {
    cat <<'TEXT'
Uso: ./install.sh [opciones]

Sin opciones: busca Moonraker y sus instancias (los archivos de unidad de systemd, luego las carpetas habituales), enlaza
el plugin, agrega sus secciones a cada moonraker.conf (después de una copia) y pregunta antes de reiniciar Moonraker.

  -m, --moonraker CARPETA  el repositorio de Moonraker, o su paquete instalado (…/site-packages/moonraker); repetible
  -d, --data CARPETA       una ruta de datos, como ~/printer_data; repetible, una por instancia
      --uninstall          quitarlo todo; los datos del plugin se quedan
      --purge              con --uninstall: borrar además <ruta de datos>/tecmedhub, tras preguntar
      --no-sidebar         no agregar el panel a la barra lateral de Mainsail, ni preguntarlo
      --no-update-manager  no agregar [update_manager tecmedhub]: actualizarás con `git pull`
      --restart            reiniciar Moonraker sin preguntar, aunque no pueda decir si está imprimiendo
      --no-restart         no reiniciar Moonraker, ni preguntarlo
  -y, --yes                responder que sí a todo
  -n, --dry-run            decir qué se haría, sin cambiar nada
  -h, --help               este texto

Moonraker nunca se reinicia mientras imprime. Se puede ejecutar de nuevo en cualquier momento: lo que ya está se queda como está.
TEXT
}

# --- Saying and asking -------------------------------------------------------------------------------------------

bold='' red='' yellow='' green='' plain=''
if [[ -t 1 && -z ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]]; then
    bold=$'\e[1m' red=$'\e[31m' yellow=$'\e[33m' green=$'\e[32m' plain=$'\e[0m'
fi

# FORMAT ARGUMENT...: a sentence in the language of whoever reads it (SPANISH, below). The English format is its key.
# shellcheck disable=SC2059  # the formats are ours
words() {
    local format=$1
    shift
    if [[ $language == es && -n ${SPANISH[$format]:-} ]]; then format=${SPANISH[$format]}; fi
    printf -- "$format" "$@"
}

say() { words "$@" && printf '\n'; }
note() { printf '%s%s%s %s\n' "$yellow" "$(words 'Note:')" "$plain" "$(words "$@")"; }
complain() { printf '%s%s%s %s\n' "$red" "$(words 'Error:')" "$plain" "$(words "$@")" >&2; }
die() { complain "$@"; exit 1; }
trap 'die "line %s failed: %s. Nothing after it was done; mend the cause and run this again." "$LINENO" "$BASH_COMMAND"' ERR

# DONE FORMAT ARGUMENT...: one change, in the tense that fits: "Linked …", or in a dry run "Would link …".
report() {
    if $dry_run; then printf '%s%s%s %s\n' "$bold" "$(words "${WOULD[$1]}")" "$plain" "$(words "${@:2}")"
    else printf '%s%s%s %s\n' "$green" "$(words "$1")" "$plain" "$(words "${@:2}")"; fi
}

# DEFAULT(y|n) FORMAT ARGUMENT...: true for yes. Without a terminal nobody can be asked, and only --yes is a yes.
ask() {
    local answer hint='[y/N]'
    $yes && return 0
    [[ -t 0 ]] || return 1
    [[ $1 == y ]] && hint='[Y/n]'
    [[ $language != es ]] || hint=${hint/y/s} hint=${hint/Y/S}
    read -r -p "$(words "${@:2}") $hint " answer || answer=n  # nobody is there
    [[ ${answer:-$1} == [yYsS]* ]]
}

# The words of `report`, done and in a dry run.
declare -A WOULD=(
    [Linked]='Would link' [Removed]='Would remove' [Added]='Would add' [Saved]='Would save' [Restarted]='Would restart'
    [Deleted]='Would delete' [Asked]='Would ask'
)

# --- Spanish ------------------------------------------------------------------------------------------------------

declare -A SPANISH=(
    ["Note:"]='Nota:'
    ["Error:"]='Error:'
    ["Linked"]='Enlazado:'
    ["Would link"]='Se enlazaría:'
    ["Removed"]='Quitado:'
    ["Would remove"]='Se quitaría:'
    ["Added"]='Agregado:'
    ["Would add"]='Se agregaría:'
    ["Saved"]='Guardado:'
    ["Would save"]='Se guardaría:'
    ["Restarted"]='Reiniciado:'
    ["Would restart"]='Se reiniciaría:'
    ["Deleted"]='Borrado:'
    ["Would delete"]='Se borraría:'
    ["Would ask"]='Se preguntaría'
    ["loaded"]='cargado'
    ["absent"]='ausente'
    ["line %s failed: %s. Nothing after it was done; mend the cause and run this again."]='la línea %s falló: %s. No se hizo nada más; arregla la causa y ejecuta esto de nuevo.'
    ["%s needs a folder after it."]='después de %s va una carpeta.'
    ["unknown option %s; --help lists them."]='opción desconocida %s; --help las muestra.'
    ["--purge deletes the plugin's data and goes only together with --uninstall."]='--purge borra los datos del plugin y solo va junto con --uninstall.'
    ["do not use sudo: the files would belong to root and Moonraker could not update them. Run ./install.sh as %s."]='no uses sudo: los archivos serían de root y Moonraker no podría actualizarlos. Ejecuta ./install.sh como %s.'
    ["the folder %s has a line break in its name: move it."]='la carpeta %s tiene un salto de línea en su nombre: muévela.'
    ["%s is incomplete (no components folder): clone it again."]='%s está incompleta (falta la carpeta components): clónala de nuevo.'
    ["runs as %s"]='se ejecuta como %s'
    ["left alone, because you are %s: %s."]='no se toca, porque eres %s: %s.'
    ["%s has no moonraker.conf: skipped."]='%s no tiene moonraker.conf: se omite.'
    ["%s holds no Moonraker: give -m its checkout (with moonraker/server.py in it) or its installed package."]='en %s no hay un Moonraker: da a -m su repositorio (con moonraker/server.py) o su paquete instalado.'
    ["the data path %s does not exist: give -d the folder that holds config/moonraker.conf."]='la ruta de datos %s no existe: da a -d la carpeta que contiene config/moonraker.conf.'
    ["%s does not exist: start Moonraker once with that data path, or give -d another."]='%s no existe: inicia Moonraker una vez con esa ruta de datos, o da otra a -d.'
    ["found no Moonraker: tell where it is, for example ./install.sh -m ~/moonraker -d ~/printer_data"]='no se encontró Moonraker: di dónde está, por ejemplo ./install.sh -m ~/moonraker -d ~/printer_data'
    ["found no moonraker.conf: tell the data path, for example ./install.sh -d ~/printer_data"]='no se encontró moonraker.conf: di la ruta de datos, por ejemplo ./install.sh -d ~/printer_data'
    ["%s has our opening mark in line %s, but no closing mark: remove our lines by hand, then run this again."]='%s tiene nuestra marca inicial en la línea %s, pero no la final: quita nuestras líneas a mano y ejecuta esto de nuevo.'
    ["a copy as %s"]='una copia como %s'
    ["%s is write-protected: allow changes with  chmod u+w '%s'  and run this again."]='%s está protegido contra escritura: permite cambios con  chmod u+w '\''%s'\''  y ejecuta esto de nuevo.'
    ["%s may not write %s: run this as its owner, %s."]='%s no puede escribir %s: ejecuta esto como su dueño, %s.'
    ["%s may not write in %s: run this as its owner, %s."]='%s no puede escribir en %s: ejecuta esto como su dueño, %s.'
    ["%s belongs to %s, and you are root: run ./install.sh as %s."]='%s es de %s, y tú eres root: ejecuta ./install.sh como %s.'
    ["%s is in the way (not a link): move it elsewhere and run this again."]='%s estorba (no es un enlace): muévelo a otro lugar y ejecuta esto de nuevo.'
    ["The link %s is there."]='El enlace %s ya está.'
    ["%s -> %s (it was %s)"]='%s -> %s (antes: %s)'
    ["the link %s"]='el enlace %s'
    ["the link to %s, so that git and Moonraker's update manager see a clean checkout"]='el enlace en %s, para que git y el gestor de actualizaciones de Moonraker vean limpio el repositorio'
    ["our line in %s"]='nuestra línea de %s'
    ["%s is not a git checkout of its own"]='%s no es un repositorio git propio'
    ["the checkout %s has no remote named origin"]='el repositorio %s no tiene un remoto llamado origin'
    ["Moonraker's update manager cannot work in a folder with blanks or quotes in its path, such as %s"]='el gestor de actualizaciones de Moonraker no puede trabajar en una carpeta con espacios o comillas en su ruta, como %s'
    ["the address of its remote holds a password or a token, which does not belong in moonraker.conf"]='la dirección de su remoto lleva una contraseña o un token, que no debe estar en moonraker.conf'
    ["[update_manager tecmedhub] updates another copy of the plugin, in %s: set its path to %s."]='[update_manager tecmedhub] actualiza otra copia del plugin, en %s: pon en su path %s.'
    ["The sections in %s are there."]='Las secciones de %s ya están.'
    ["%s to %s"]='%s a %s'
    ["this switches on Moonraker's update manager, which %s did not use; --no-update-manager leaves it off."]='esto activa el gestor de actualizaciones de Moonraker, que %s no usaba; con --no-update-manager queda apagado.'
    ["our sections from %s"]='nuestras secciones de %s'
    ["[%s] in %s was not written by install.sh and stays: remove it by hand, or Moonraker will report it as failed."]='[%s] de %s no lo escribió install.sh y se queda: quítalo a mano, o Moonraker lo dará por fallido.'
    ["restart Moonraker from Mainsail's or Fluidd's power menu"]='reinicia Moonraker desde el menú de encendido de Mainsail o Fluidd'
    ["%s, or with: sudo systemctl restart %s"]='%s, o con: sudo systemctl restart %s'
    ["Moonraker at %s was not restarted (--no-restart). For the change to take effect: %s."]='Moonraker en %s no se reinició (--no-restart). Para que el cambio haga efecto: %s.'
    ["Moonraker at %s is printing and is left alone; when the print is over: %s."]='Moonraker en %s está imprimiendo y no se toca; cuando termine la impresión: %s.'
    ["Would not restart Moonraker at %s: it does not say whether it is printing."]='No se reiniciaría Moonraker en %s: no dice si está imprimiendo.'
    ["to restart Moonraker at %s"]='si se reinicia Moonraker en %s'
    ["Moonraker at %s does not say whether it is printing. Restart it all the same?"]='Moonraker en %s no dice si está imprimiendo. ¿Reiniciarlo de todos modos?'
    ["Moonraker at %s does not say whether it is printing and was not restarted; when nothing prints: %s."]='Moonraker en %s no dice si está imprimiendo y no se reinició; cuando no imprima nada: %s.'
    ["Restart Moonraker at %s now?"]='¿Reiniciar ahora Moonraker en %s?'
    ["Moonraker at %s was not restarted. For the change to take effect: %s."]='Moonraker en %s no se reinició. Para que el cambio haga efecto: %s.'
    ["Moonraker at %s could not be restarted from here; %s."]='Moonraker en %s no se pudo reiniciar desde aquí; %s.'
    ["Moonraker at %s: the plugin is %s."]='Moonraker en %s: el plugin está %s.'
    ["Moonraker at %s restarted, but could not load the plugin: its log, moonraker.log, says why."]='Moonraker en %s se reinició, pero no pudo cargar el plugin: su registro, moonraker.log, dice por qué.'
    ["Moonraker at %s was told to restart and is not back after 30 s: look at moonraker.log."]='Se pidió a Moonraker en %s que se reinicie y a los 30 s no ha vuelto: mira moonraker.log.'
    ["%s stays, because the running Moonraker still uses it: restart Moonraker, then run ./install.sh --uninstall --purge again."]='%s se queda, porque el Moonraker en marcha todavía la usa: reinicia Moonraker y ejecuta ./install.sh --uninstall --purge de nuevo.'
    ["to delete %s"]='si se borra %s'
    ["Delete %s (%s: command history, statistics, pictures)?"]='¿Borrar %s (%s: historial de comandos, estadísticas, imágenes)?'
    ["%s stays."]='%s se queda.'
    ["The link %s stays: %s uses it, too."]='El enlace %s se queda: también lo usa %s.'
    ["There is nothing to remove."]='No hay nada que quitar.'
    ["no [update_manager tecmedhub] section, since %s; mend that and run this again to update the plugin from Mainsail or Fluidd."]='sin sección [update_manager tecmedhub], porque %s; arréglalo y ejecuta esto de nuevo para actualizar el plugin desde Mainsail o Fluidd.'
    ["Nothing was changed (--dry-run)."]='No se cambió nada (--dry-run).'
    ["Next, once Moonraker has restarted: open the panel. It asks for the address of your server and for this printer's token, saves them and tries them."]='Lo siguiente, cuando Moonraker haya reiniciado: abre el panel. Pide la dirección de tu servidor y el token de esta impresora, los guarda y los prueba.'
    ["to add the panel to Mainsail's sidebar (%s)"]='si se agrega el panel a la barra lateral de Mainsail (%s)'
    ["Add the panel to Mainsail's sidebar (%s)?"]='¿Agregar el panel a la barra lateral de Mainsail (%s)?'
    ["the panel to Mainsail's sidebar (%s)"]='el panel a la barra lateral de Mainsail (%s)'
    ["%s could not be written; docs/panel.md says what to put there."]='no se pudo escribir %s; docs/es/panel.md dice qué poner ahí.'
    ["the panel from Mainsail's sidebar (%s)"]='el panel de la barra lateral de Mainsail (%s)'
    ["In Fluidd, which has no such sidebar, keep the panel's address as a bookmark."]='En Fluidd, que no tiene esa barra, guarda la dirección del panel como marcador.'
    ["The panel: %s"]='El panel: %s'
)

# --- The command line --------------------------------------------------------------------------------------------

dry_run=false yes=false uninstall=false purge=false updates=true sidebar=true restart=ask
wanted_sources=() wanted_data=()

while (($#)); do
    case $1 in
        -m | --moonraker | -d | --data)
            [[ -n ${2:-} ]] || die "%s needs a folder after it." "$1"
            case $1 in -m | --moonraker) wanted_sources+=("$2") ;; *) wanted_data+=("$2") ;; esac
            shift ;;
        --moonraker=*) wanted_sources+=("${1#*=}") ;;
        --data=*) wanted_data+=("${1#*=}") ;;
        --uninstall) uninstall=true ;;
        --purge) purge=true ;;
        --no-update-manager) updates=false ;;
        --no-sidebar) sidebar=false ;;
        --restart) restart=always ;;
        --no-restart) restart=never ;;
        -y | --yes) yes=true ;;
        -n | --dry-run) dry_run=true ;;
        -h | --help) usage; exit 0 ;;
        *) complain "unknown option %s; --help lists them." "$1"; exit 2 ;;
    esac
    shift
done
if $purge && ! $uninstall; then die "--purge deletes the plugin's data and goes only together with --uninstall."; fi

if [[ -n ${SUDO_USER:-} && $SUDO_USER != root ]]; then
    die "do not use sudo: the files would belong to root and Moonraker could not update them. Run ./install.sh as %s." "$SUDO_USER"
fi

repo=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
[[ $repo != *$'\n'* ]] || die "the folder %s has a line break in its name: move it." "$repo"
[[ -f $repo/components/__init__.py ]] || die "%s is incomplete (no components folder): clone it again." "$repo"
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
                others+=("${unit##*/} ($(words 'runs as %s' "${user:-root}"))")
                continue
            fi
            offer "$launch_source" "${launch_data:-$HOME/printer_data}" "$launch_conf" "${unit##*/}" "$scope"
        done
    done
    ((${#others[@]} == 0)) || note "left alone, because you are %s: %s." "$me" "${others[*]}"
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
    [[ -f $conf ]] || { note "%s has no moonraker.conf: skipped." "$data"; return 0; }
    if [[ -n $source ]] && ! ((${#wanted_sources[@]})); then add_source "$source"; fi
    add_instance "$conf" "$(cd -- "$data" 2>/dev/null && pwd -P || printf '%s' "$data")" "$4" "$5"
}

find_moonraker() {
    local folder package data known
    for folder in "${wanted_sources[@]}"; do
        package=$(package_in "$folder") \
            || die "%s holds no Moonraker: give -m its checkout (with moonraker/server.py in it) or its installed package." "$folder"
        add_source "$package"
    done
    for folder in "${wanted_data[@]}"; do
        [[ -d $folder ]] || die "the data path %s does not exist: give -d the folder that holds config/moonraker.conf." "$folder"
    done
    # Even where all is told: a unit that belongs to it is worth knowing, for its moonraker.conf and the restart.
    find_units
    for folder in "${wanted_data[@]}"; do
        known=false
        for data in "${datas[@]}"; do [[ ! $data -ef $folder ]] || known=true; done
        $known && continue
        [[ -f $folder/config/moonraker.conf ]] \
            || die "%s does not exist: start Moonraker once with that data path, or give -d another." "$folder/config/moonraker.conf"
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
            printf '%s\t%s\t%s\n' "$kind" "$first" "$second"
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
            if ((section == "server" || section == "update_manager tecmedhub") && match($0, /[:=]/)) {
                name = substr($0, 1, RSTART - 1); value = substr($0, RSTART + 1)
                gsub(/^ +| +$/, "", name); gsub(/^ +| +$/, "", value)
                print (section == "server" ? section : "update") "\t" name "\t" value
            }
        }' "$file")
}

# CONF SECTION: the file that has the section, or nothing.
section_file() { scan "$1" | LC_ALL=C awk -F '\t' -v name="$2" '$1 == "section" && $2 == name && !done { print $3; done = 1 }'; }
server_option() { option server "$1" "$2"; }
option() { scan "$2" | LC_ALL=C awk -F '\t' -v kind="$1" -v name="$3" '$1 == kind && $2 == name { last = $3 } END { print last }'; }

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
        [[ -n $last ]] || die "%s has our opening mark in line %s, but no closing mark: remove our lines by hand, then run this again." "$file" "$first"
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
    report Saved "a copy as %s" "$copy"
}

# Root may write anywhere, so the write bits count, not only what the system would allow.
require_writable() {  # FILE
    local target folder
    target=$(readlink -f -- "$1") || target=$1
    folder=${target%/*}
    if [[ -e $target ]]; then
        if (((8#$(stat -c %a -- "$target") & 8#222) == 0)); then
            die "%s is write-protected: allow changes with  chmod u+w '%s'  and run this again." "$1" "$target"
        fi
        [[ -w $target ]] || die "%s may not write %s: run this as its owner, %s." "$me" "$1" "$(stat -c %U -- "$target")"
    fi
    [[ -w $folder ]] || die "%s may not write in %s: run this as its owner, %s." "$me" "$folder" "$(stat -c %U -- "$folder")"
}

require_owner() {  # PATH: root must not leave its files in the folders of the user that Moonraker runs as
    local owner
    owner=$(stat -Lc %U -- "$1")
    if [[ $EUID -eq 0 && $(stat -Lc %u -- "$1") -ne 0 ]]; then
        die "%s belongs to %s, and you are root: run ./install.sh as %s." "$1" "$owner" "$owner"
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
        die "%s is in the way (not a link): move it elsewhere and run this again." "$link"
    fi
    if [[ $(readlink -- "$link" || true) != "$repo/components" || $uninstall == true ]]; then
        [[ -w $1/components ]] || die "%s may not write in %s: run this as its owner, %s." "$me" "$1/components" "$(stat -c %U -- "$1/components")"
    fi
}

add_link() {  # PACKAGE
    local link before
    link=$(link_of "$1")
    before=$(readlink -- "$link" || true)
    if [[ $before == "$repo/components" ]]; then
        say "The link %s is there." "$link"
        return
    fi
    $dry_run || ln -sfn -- "$repo/components" "$link"
    if [[ -n $before ]]; then report Linked "%s -> %s (it was %s)" "$link" "$repo/components" "$before"
    else report Linked "%s -> %s" "$link" "$repo/components"; fi
    changed=true
}

remove_link() {  # PACKAGE
    local link
    link=$(link_of "$1")
    [[ -L $link ]] || return 0
    $dry_run || rm -- "$link"
    report Removed "the link %s" "$link"
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
    report Added "the link to %s, so that git and Moonraker's update manager see a clean checkout" "$file"
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
    report Removed "our line in %s" "$file"
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
        no_origin=$(words "%s is not a git checkout of its own" "$repo")
    elif ! origin=$(git -C "$repo" remote get-url origin 2>/dev/null); then
        no_origin=$(words "the checkout %s has no remote named origin" "$repo")
    elif [[ $repo == *[[:space:]\"\'\\]* ]]; then
        # It builds its git commands from the bare path (0.9.3 to 0.11.0).
        origin='' no_origin=$(words "Moonraker's update manager cannot work in a folder with blanks or quotes in its path, such as %s" "$repo")
    elif [[ $origin =~ ://[^/@]*:[^/@]*@ || $origin =~ ^[hH][tT][tT][pP][sS]?://[^/]*@ || $origin == *[?\&]*=* ]]; then
        # A user name alone is a password as well: https://ghp_…@github.com/…
        origin='' no_origin=$(words "the address of its remote holds a password or a token, which does not belong in moonraker.conf")
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
    local conf=$1 text names before updated
    text=$(missing_sections "$conf")
    updated=$(option update "$conf" path)
    if $updates && [[ -n $updated && $(realpath -m -- "${updated/#\~\//$HOME/}") != "$(realpath -m -- "$repo")" ]]; then
        note "[update_manager tecmedhub] updates another copy of the plugin, in %s: set its path to %s." "$updated" "$repo"
    fi
    if [[ -z $text ]]; then
        say "The sections in %s are there." "$conf"
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
    report Added "%s to %s" "$names" "$conf"
    changed=true
    [[ $text != "[tecmedhub]"* ]] || new_section=true
    if [[ $text == *'[update_manager '* && $before == false ]]; then
        note "this switches on Moonraker's update manager, which %s did not use; --no-update-manager leaves it off." "$conf"
    fi
}

remove_sections() {  # CONF
    local conf=$1 name file
    if without_blocks "$conf" "$scratch/new"; then
        require_writable "$conf"
        back_up "$conf"
        $dry_run || replace "$conf" "$scratch/new"
        report Removed "our sections from %s" "$conf"
        changed=true
    fi
    $dry_run && return
    for name in tecmedhub 'update_manager tecmedhub'; do
        file=$(section_file "$conf" "$name")
        [[ -z $file ]] || note "[%s] in %s was not written by install.sh and stays: remove it by hand, or Moonraker will report it as failed." "$name" "$file"
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
    how=$(words "restart Moonraker from Mainsail's or Fluidd's power menu")
    [[ -z $unit ]] || how=$(words "%s, or with: sudo systemctl restart %s" "$how" "${unit%.service}")
    $uninstall && wanted_state=absent
    state=$(plugin_state "$url")
    if ! $changed && [[ $state == "$wanted_state" || $state == unknown ]]; then return 0; fi
    if [[ $restart == never ]]; then
        say "Moonraker at %s was not restarted (--no-restart). For the change to take effect: %s." "$url" "$how"
        return
    fi
    doing=$(activity "$url")
    if [[ $doing == busy ]]; then
        note "Moonraker at %s is printing and is left alone; when the print is over: %s." "$url" "$how"
        return
    fi
    if $dry_run; then
        if [[ $doing == unknown && $restart != always ]]; then say "Would not restart Moonraker at %s: it does not say whether it is printing." "$url"
        else report Asked "to restart Moonraker at %s" "$url"; fi
        return
    fi
    if [[ $doing == unknown && $restart != always ]]; then
        # --yes is no answer to this one: nobody looked at the printer.
        if $yes || ! [[ -t 0 ]] || ! ask n "Moonraker at %s does not say whether it is printing. Restart it all the same?" "$url"; then
            note "Moonraker at %s does not say whether it is printing and was not restarted; when nothing prints: %s." "$url" "$how"
            return
        fi
    elif [[ $restart != always ]] && ! ask y "Restart Moonraker at %s now?" "$url"; then
        say "Moonraker at %s was not restarted. For the change to take effect: %s." "$url" "$how"
        return
    fi
    if ! restart_moonraker "$unit" "$scope" "$url"; then
        note "Moonraker at %s could not be restarted from here; %s." "$url" "$how"
        return
    fi
    for ((tries = 60; tries > 0; tries--)); do
        state=$(plugin_state "$url")
        if [[ $state == "$wanted_state" || $state == failed ]]; then break; fi
        sleep 0.5
    done
    case $state in
        "$wanted_state") report Restarted "Moonraker at %s: the plugin is %s." "$url" "$(words "$state")" ;;
        failed) note "Moonraker at %s restarted, but could not load the plugin: its log, moonraker.log, says why." "$url" ;;
        *) note "Moonraker at %s was told to restart and is not back after 30 s: look at moonraker.log." "$url" ;;
    esac
}

# --- Mainsail's sidebar -------------------------------------------------------------------------------------------

panel_path=/server/tecmedhub/panel

# CONF ACTION: adds the panel's entry to Mainsail's navi.json, or takes it out; prints "changed", "there", or "broken"
# where the file is no list of Mainsail's. Whatever else stands in it stays, byte for byte.
edit_sidebar() {
    local python
    python=$(command -v python3 || python_of "${sources[0]:-}") || return 1
    "$python" - "${1%/*}/.theme/navi.json" "$2" "$panel_path" "$dry_run" <<'PYTHON'
import json, os, re, sys

path, action, href, dry_run = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4] == "true"
entry = json.dumps({"title": "TecMedHub", "href": href, "target": "_blank", "position": 85})
whole = "[\n  " + entry + "\n]\n"
text = ""
if os.path.exists(path):
    with open(path, encoding="utf-8-sig", newline="") as file:
        text = file.read()
try:
    entries = json.loads(text) if text.strip() else []
    if not isinstance(entries, list):
        raise TypeError
    there = any(one.get("href") == href for one in entries)
except (ValueError, AttributeError, TypeError):
    print("broken")
    sys.exit()
if there == (action == "add"):
    print("there")
    sys.exit()
if action == "add":
    new = re.sub(r"\s*\]\s*\Z", lambda end: ",\n  " + entry + end.group(), text) if entries else whole
else:
    new = text.replace(",\n  " + entry, "")
    if new == text:
        rest = [one for one in entries if one.get("href") != href]
        new = "" if text == whole or not rest else json.dumps(rest, indent=2, ensure_ascii=False) + "\n"
json.loads(new or "[]")
if dry_run:
    print("changed")
    sys.exit()
folder = os.path.dirname(path)
if new:
    os.makedirs(folder, exist_ok=True)
    with open(path + ".new", "w", encoding="utf-8", newline="") as file:
        file.write(new)
    if text:
        os.chmod(path + ".new", os.stat(path).st_mode & 0o777)
    os.replace(path + ".new", os.path.realpath(path))
else:
    os.remove(path)
    try:
        os.rmdir(folder)
    except OSError:
        pass
print("changed")
PYTHON
}

offer_sidebar() {  # CONF
    local file=${1%/*}/.theme/navi.json
    [[ $(dry_run=true edit_sidebar "$1" add || true) == changed ]] || return 0
    if $dry_run; then
        report Asked "to add the panel to Mainsail's sidebar (%s)" "$file"
    elif ask y "Add the panel to Mainsail's sidebar (%s)?" "$file"; then
        if [[ $(edit_sidebar "$1" add || true) == changed ]]; then report Added "the panel to Mainsail's sidebar (%s)" "$file"
        else note "%s could not be written; docs/panel.md says what to put there." "$file"; fi
    fi
}

leave_sidebar() {  # CONF
    local file=${1%/*}/.theme/navi.json
    [[ -f $file ]] || return 0
    if [[ $(edit_sidebar "$1" remove || true) == changed ]]; then report Removed "the panel from Mainsail's sidebar (%s)" "$file"; fi
}

# CONF: the panel's address for a browser in the same network.
panel_url() {
    local url host
    url=$(moonraker_url "$1")
    if [[ $url == http://127.0.0.1:* ]]; then
        host=$(hostname -I 2>/dev/null | awk '{ print $1 }' || true)
        host=${host:-$(hostname 2>/dev/null || printf localhost)}
        [[ $host != *:* ]] || host="[$host]"
        url=http://$host:${url##*:}
    fi
    printf '%s%s' "$url" "$panel_path"
}

purge_data() {  # INDEX
    local folder=${datas[$1]}/tecmedhub
    if [[ ! -d $folder || -L $folder ]]; then return 0; fi
    if [[ $(plugin_state "$(moonraker_url "${confs[$1]}")") == loaded ]] && ! $dry_run; then
        note "%s stays, because the running Moonraker still uses it: restart Moonraker, then run ./install.sh --uninstall --purge again." "$folder"
        return
    fi
    if $dry_run; then
        report Asked "to delete %s" "$folder"
    elif ask n "Delete %s (%s: command history, statistics, pictures)?" "$folder" "$(du -sh -- "$folder" | cut -f1)"; then
        rm -rf -- "$folder"
        report Deleted "%s" "$folder"
    else
        say "%s stays." "$folder"
    fi
}

# --- What is done, in order ---------------------------------------------------------------------------------------

find_moonraker
for package in "${sources[@]}"; do check_link "$package"; done
for conf in "${confs[@]}"; do require_owner "$conf"; done
find_origin

if $uninstall; then
    # The sections first: a section without its plugin is an error to Moonraker, a link without a section is not.
    for conf in "${confs[@]}"; do remove_sections "$conf"; leave_sidebar "$conf"; done
    for package in "${sources[@]}"; do
        other=$(needed_by "$package")
        if [[ -n $other ]]; then
            say "The link %s stays: %s uses it, too." "$(link_of "$package")" "$other"
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
        note "no [update_manager tecmedhub] section, since %s; mend that and run this again to update the plugin from Mainsail or Fluidd." "$no_origin"
    fi
fi

for index in "${!confs[@]}"; do offer_restart "$index"; done
if ! $uninstall && $sidebar; then
    for conf in "${confs[@]}"; do offer_sidebar "$conf"; done
fi
if $purge; then
    for index in "${!confs[@]}"; do purge_data "$index"; done
fi

if $dry_run; then
    say "Nothing was changed (--dry-run)."
elif $new_section; then
    say "Next, once Moonraker has restarted: open the panel. It asks for the address of your server and for this printer's token, saves them and tries them."
fi
if ! $uninstall; then
    $sidebar && say "In Fluidd, which has no such sidebar, keep the panel's address as a bookmark."
    for conf in "${confs[@]}"; do say "The panel: %s" "$(panel_url "$conf")"; done
fi
