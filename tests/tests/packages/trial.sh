#!/bin/bash
# What is done to packages in a booted Debian, as root: installed, used, upgraded, removed. Prints what was found; the test reads it.
exec >/trial/found 2>&1
said() { journalctl --output=cat --unit=lightfoot; }
# until_so COMMAND…: waits for it to succeed, for a minute.
until_so() {
    for _ in $(seq 600); do
        ! "$@" || return 0
        sleep 0.1
    done
    echo "never: $*"
}
says() { said | grep -qF -- "$1"; }
process() { systemctl show --property=MainPID --value lightfoot; }
is_another() { [ "$(process)" != "$1" ] && [ "$(process)" != 0 ]; }
get() {
    local address
    address=$(sed -n 's/^listening \([0-9.:]*\).*/\1/p' /tmp/server)
    exec 5<>"/dev/tcp/${address%:*}/${address#*:}"
    printf 'GET %s HTTP/1.0\r\n\r\n' "$1" >&5
    head -n 1 <&5 >/dev/null
}

dpkg --install /trial/first.deb
echo "installed: $(dpkg-query --show --showformat='${Version}' lightfoot)"
echo "enabled: $(systemctl is-enabled lightfoot)"
echo "active: $(systemctl is-active lightfoot)"
echo "verified: $(systemd-analyze verify --man=no lightfoot.service && echo yes)"
echo "completed: $(bash -c 'source /usr/share/bash-completion/completions/lightfoot && complete -p lightfoot' | grep -c _lightfoot)"

systemd-run --quiet --unit=server --property=User=nobody --property=StandardOutput=file:/tmp/server /home/server
until_so grep -q listening /tmp/server
printf 'export:\n  format: json\n' >/etc/lightfoot/config.yaml
systemctl enable --now --quiet lightfoot
until_so says 'path=/home/server'
echo "capabilities: $(sed -n 's/^CapEff:\t//p; s/^CapBnd:\t//p' "/proc/$(process)/status" | xargs)"
echo "user: $(ps -o user= "$(process)")"
echo "memory: $(systemctl show --property=MemoryMax --value lightfoot)"
until_so eval 'get /first; sleep 0.5; says \"/first\"'
echo "span: $(said | grep -c '"url.path":"/first"')"

first=$(process)
printf 'export:\n  format: json\nrules:\n  - {match: {exe: nothing}, action: leave}\n' >/etc/lightfoot/config.yaml
systemctl reload lightfoot
until_so says 'following the configuration anew'
echo "reloaded: $([ "$first" = "$(process)" ] && echo 'the same process')"

kill -KILL "$first"
until_so is_another "$first"
until_so says 'did not end as it should'
echo "killed: $(said | grep -c 'did not end as it should')"

before=$(process)
dpkg --install /trial/second.deb
until_so is_another "$before"
echo "upgraded: $(dpkg-query --show --showformat='${Version}' lightfoot), kept $(grep -c 'match: {exe: nothing}' /etc/lightfoot/config.yaml)"
until_so eval 'get /second; sleep 0.5; says \"/second\"'
echo "span of the second: $(said | grep -c '"url.path":"/second"')"

dpkg --remove lightfoot
left=$(find /usr /etc/systemd -name '*lightfoot*' | wc -l)
kept=$(find /etc/lightfoot -type f -printf '%f\n' | sort | xargs)
echo "removed: $(systemctl is-active lightfoot), $left files, $(pgrep -xc lightfoot) processes, kept $kept"
dpkg --purge lightfoot
echo "purged: $([ -e /etc/lightfoot ] || echo yes)"
said >/trial/journal
systemctl poweroff
