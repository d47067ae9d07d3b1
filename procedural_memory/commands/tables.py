"""What is known about programs, as data: sub-commands, flags that take a value, and what each argument is.

An argument class is one of

- a placeholder kind (``FILE``, ``STR``, ``NUM``, ``NAME``, ``BRANCH``, ``PKG``, ``IMAGE``, ``TEST``, ``CODE``, ``URL``,
  ``VAL``, ``HOST``): the argument is that, whatever it looks like (within reason: a URL stays a URL, a placeholder
  stays itself, ``.`` and ``-`` stay literal);
- ``AUTO``: judged by its looks;
- ``LIT``: kept as it is, unless its looks say it is a path, a number, …;
- ``SED``: a line range or a script; ``REF``: a git revision or branch, ``PATHREF``: a git revision or path;
- ``REMOTE``: ``host:path`` or a path; ``TESTFILE``: a test id or a path;
- ``MODE``, ``BUNDLE``, ``KEY``: what chmod, tar and git config take first; ``EDITABLE``: what ``pip install -e`` takes;
- ``CMD``: the rest is a command of its own; ``MODULE``: a Python module that takes the place of the program;
- ``NONE``: a flag that takes no value after all.

A specification lists the classes of the arguments in order; the last one goes for all that follow.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = [
    "ALIASES",
    "COMMON_FLAGS",
    "CREATES",
    "DIGIT_FLAGS",
    "DISTINCT",
    "FLAGS",
    "GROUPS",
    "KINDS",
    "POSITIONAL",
    "SUBCOMMANDS",
    "WRAPPERS",
    "WRITING_FLAGS",
    "Wrapper",
]

KINDS: Final = [
    "FILE",
    "URL",
    "NUM",
    "STR",
    "HASH",
    "IP",
    "HOST",
    "BRANCH",
    "TAG",
    "VAL",
    "GLOB",
    "PKG",
    "IMAGE",
    "HEREDOC",
    "RANGE",
    "CODE",
    "TEST",
    "DATE",
    "EMAIL",
    "UUID",
    "VAR",
    "NAME",
    "SECRET",
    "REST",
    "TEXT",
]
"""Every placeholder there is, without its angle brackets."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _each(*rows: tuple[str, str]) -> dict[str, tuple[str, ...]]:
    """Turn rows of (programs, specification) into one entry per program; ``>`` joins program and sub-command."""
    return {name.replace(">", " "): tuple(spec.split()) for names, spec in rows for name in names.split()}


def _flags(*rows: tuple[str, str]) -> dict[str, dict[str, str]]:
    """Turn rows of (programs, "-f -g:CLASS …") into program -> flag -> class."""
    table: dict[str, dict[str, str]] = {}
    for names, spec in rows:
        entry: dict[str, str] = {}
        waiting: list[str] = []
        for word in spec.split():
            flag, _, kind = word.rpartition(":")
            if not kind.isupper():  # a colon of the flag itself, as in ffmpeg's `-c:v`
                flag = ""
            waiting.append(flag or word)
            if flag:
                entry.update(dict.fromkeys(waiting, kind))
                waiting = []
        for name in names.split():
            table.setdefault(name.replace(">", " "), {}).update(entry)
    return table


ALIASES: Final = {
    "python2": "python",
    "python3": "python",
    "py": "python",
    "ipython3": "ipython",
    "pip2": "pip",
    "pip3": "pip",
    "nodejs": "node",
    "vi": "vim",
    "nvim": "vim",
    "egrep": "grep",
    "fgrep": "grep",
    "zgrep": "grep",
    "gsed": "sed",
    "gawk": "awk",
    "mawk": "awk",
    "apt-get": "apt",
    "py.test": "pytest",
    "gmake": "make",
    "batcat": "bat",
    "fdfind": "fd",
}
"""Other spellings of the same program."""

SUBCOMMANDS: Final = _words(
    """
    git hg svn jj docker podman nerdctl docker-compose podman-compose kubectl oc k3s helm minikube kind argocd flux
    eksctl gh glab hub aws gcloud gsutil az doctl heroku fly flyctl vercel netlify firebase supabase wrangler
    serverless sls sam cdk pulumi terraform tofu terragrunt packer vagrant ansible-galaxy ansible-vault nomad consul
    vault npm pnpm yarn bun deno nx turbo lerna ng vue vite next nuxt expo prisma ionic cap tauri rush wasm-pack pip
    pipx poetry uv pdm hatch rye conda mamba micromamba pipenv pyenv rbenv nvm asdf mise volta sdk goenv cargo
    rustup go dotnet swift flutter dart gem bundle rails composer mix stack cabal opam zig luarocks apt brew dnf yum
    zypper snap flatpak apk emerge port nix choco winget scoop systemctl launchctl ip nmcli ufw loginctl timedatectl
    hostnamectl bluetoothctl pm2 supervisorctl manage.py django-admin artisan flask alembic dbt airflow dvc mlflow
    wandb huggingface-cli hf ollama celery scrapy jupyter streamlit prefect dagster tmux adb fastboot pod fastlane
    msfdb virsh lxc multipass restic borg rclone openssl bazel bazelisk buck2 pants conan vcpkg pre-commit coverage
    twine mkdocs act circleci sops chezmoi direnv atuin certbot caddy mysqladmin 7z 7za biome k3d sqlx diesel
    rpk nats rabbitmqctl rabbitmq-plugins kopia bup snapper btrfs zfs zpool cryptsetup etcdctl hcloud openstack oci
    linode-cli salt-key puppet svnadmin tea pass gopass op yadm nix-channel dbmate goose flyway
    liquibase tailscale wg apt-mark keytool vitest str_replace_editor str_replace_based_edit_tool
    """
)
"""Programs whose first argument is a sub-command."""

GROUPS: Final = frozenset(
    f"{program} {name}"
    for program, names in {
        "git": "remote stash submodule worktree bisect notes flow lfs reflog bundle sparse-checkout",
        "docker": "compose image container volume network system buildx context builder swarm service stack "
        "node secret manifest scout trust plugin config",
        "podman": "compose image container volume network system pod machine",
        "kubectl": "get describe delete create edit rollout config set top auth label annotate patch explain "
        "expose scale autoscale",
        "oc": "get describe delete create edit adm rollout",
        "gh": "pr issue repo run workflow release auth gist secret variable label project codespace "
        "extension cache search config",
        "glab": "mr issue repo ci auth",
        "aws": "s3 s3api ec2 iam lambda ecr ecs eks logs sts cloudformation dynamodb rds sqs sns ssm "
        "secretsmanager route53 "
        "configure cloudwatch sso kms apigateway events cloudfront elasticache elbv2 autoscaling stepfunctions athena",
        "gcloud": "compute container auth config projects run functions app builds sql services iam artifacts "
        "storage logging "
        "secrets pubsub components",
        "gcloud compute": "instances disks networks firewall-rules addresses images zones url-maps snapshots",
        "gcloud container": "clusters images",
        "gcloud sql": "instances databases",
        "gcloud run": "services jobs",
        "gcloud auth": "application-default",
        "gcloud iam": "service-accounts roles",
        "gcloud artifacts": "repositories docker",
        "az": "vm aks acr group account storage webapp functionapp network ad keyvault sql container deployment",
        "az storage": "account blob container",
        "npm": "run run-script config cache pkg dist-tag audit version token access",
        "pnpm": "run store",
        "yarn": "run config cache",
        "bun": "run pm",
        "deno": "task",
        "pip": "cache config index",
        "uv": "pip tool python cache",
        "poetry": "env self cache source config",
        "hatch": "env",
        "conda": "env config",
        "mamba": "env",
        "rustup": "component target toolchain",
        "go": "mod work tool",
        "dotnet": "ef tool nuget sln",
        "dotnet ef": "migrations database dbcontext",
        "swift": "package",
        "flutter": "pub build",
        "dart": "pub",
        "terraform": "state workspace providers",
        "tofu": "state workspace",
        "pulumi": "stack config",
        "helm": "repo dependency plugin get show registry",
        "eksctl": "create delete get upgrade scale",
        "nomad": "job node alloc",
        "consul": "kv acl",
        "vagrant": "box plugin snapshot",
        "ansible-galaxy": "collection role",
        "sam": "local",
        "jj": "git bookmark branch op config workspace",
        "composer": "global",
        "opam": "switch repo",
        "scoop": "bucket",
        "dbt": "docs source",
        "jupyter": "kernelspec labextension",
        "celery": "inspect control",
        "prefect": "deployment work-pool server",
        "huggingface-cli": "repo",
        "hf": "auth repo cache",
        "lxc": "network storage image profile config",
        "circleci": "config",
        "conan": "profile remote",
        "pdm": "venv config",
        "argocd": "app cluster",
        "flux": "get create reconcile suspend resume",
        "minikube": "addons config",
        "kind": "create delete get load export",
        "k3d": "cluster node registry kubeconfig",
        "sqlx": "migrate database",
        "diesel": "migration database",
        "vault": "kv auth secrets policy operator",
        "ip": "addr address a link route r neigh netns rule",
        "nmcli": "con connection dev device radio",
        "brew": "services bundle",
        "nix": "flake profile store",
        "airflow": "dags tasks db users connections variables pools",
        "dvc": "remote exp",
        "rpk": "topic group acl cluster",
        "nats": "stream consumer kv",
        "kopia": "repository snapshot policy maintenance",
        "etcdctl": "snapshot member endpoint user role",
        "btrfs": "subvolume filesystem device scrub balance",
        "openstack": "server volume image network keypair stack",
        "hcloud": "server volume network firewall ssh-key",
        "doctl": "compute kubernetes databases registry apps",
        "doctl compute": "droplet volume snapshot ssh-key firewall",
        "oci": "compute network os",
        "oci compute": "instance image",
        "linode-cli": "linodes volumes domains",
        "puppet": "parser cert module",
        "op": "item vault",
        "prisma": "migrate db",
        "supabase": "db functions migration",
        "heroku": "config addons pg ps",
        "fly": "secrets apps volumes machine ips certs postgres",
        "flyctl": "secrets apps volumes machine ips certs postgres",
        "vercel": "env",
        "firebase": "functions",
        "wrangler": "kv secret d1 r2 pages",
        "flask": "db",
    }.items()
    for name in names.split()
)
"""Sub-commands that are followed by one more."""


class Wrapper(NamedTuple):
    """A program that runs another command given after its own flags and operands."""

    valued: frozenset[str]
    """Flags that take a value."""
    operands: tuple[str, ...] = ()
    """Classes of the operands before the command."""


def _wrapper(valued: str = "", operands: str = "") -> Wrapper:
    return Wrapper(_words(valued), tuple(operands.split()))


WRAPPERS: Final = {
    "sudo": _wrapper("-u -g -h -p -C -D -R -T -U --user --group --host --prompt"),
    "doas": _wrapper("-u -C"),
    "env": _wrapper("-u -C -S --unset --chdir"),
    "time": _wrapper("-o -f --format --output"),
    "nohup": _wrapper(),
    "nice": _wrapper("-n --adjustment"),
    "ionice": _wrapper("-c -n -p"),
    "chrt": _wrapper("", "NUM"),
    "taskset": _wrapper("", "AUTO"),
    "timeout": _wrapper("-s -k --signal --kill-after", "NUM"),
    "gtimeout": _wrapper("-s -k", "NUM"),
    "watch": _wrapper("-n --interval"),
    "xargs": _wrapper("-I -n -P -L -d -a -s -E --max-args --max-procs --delimiter --replace"),
    "parallel": _wrapper("-j --jobs -a -N"),
    "exec": _wrapper("-a"),
    "command": _wrapper(),
    "builtin": _wrapper(),
    "noglob": _wrapper(),
    "stdbuf": _wrapper("-i -o -e"),
    "unbuffer": _wrapper(),
    "setsid": _wrapper(),
    "caffeinate": _wrapper("-t -w"),
    "strace": _wrapper("-e -o -p -s -f"),
    "ltrace": _wrapper("-e -o -p -s"),
    "chroot": _wrapper("", "FILE"),
    "fakeroot": _wrapper(),
    "dotenv": _wrapper("-f"),
    "sshpass": _wrapper("-p -f -e"),
    "proxychains": _wrapper("-f"),
    "proxychains4": _wrapper("-f"),
    "torsocks": _wrapper(),
    "xvfb-run": _wrapper("-s -n"),
    "direnv exec": _wrapper("", "FILE"),
    "npx": _wrapper("-p --package -c"),
    "bunx": _wrapper(),
    "pnpx": _wrapper(),
    "pnpm exec": _wrapper(),
    "pnpm dlx": _wrapper(),
    "yarn dlx": _wrapper(),
    "yarn exec": _wrapper(),
    "npm exec": _wrapper("-p --package -c"),
    "bun x": _wrapper(),
    "uv run": _wrapper(
        "--with --python -p --extra --group --package --directory --env-file --project --with-requirements"
    ),
    "uvx": _wrapper("--from --with --python -p"),
    "uv tool run": _wrapper("--from --with --python"),
    "pipx run": _wrapper("--spec --python"),
    "poetry run": _wrapper(),
    "pipenv run": _wrapper(),
    "pdm run": _wrapper("-p"),
    "rye run": _wrapper(),
    "hatch run": _wrapper(),
    "conda run": _wrapper("-n -p --name --prefix --cwd"),
    "mamba run": _wrapper("-n -p --name --prefix"),
    "micromamba run": _wrapper("-n -p --name --prefix"),
    "bundle exec": _wrapper(),
    "rbenv exec": _wrapper(),
    "pyenv exec": _wrapper(),
    "mise exec": _wrapper(),
    "nix-shell --run": _wrapper(),
    "coverage run": _wrapper("--source --omit --include --rcfile --data-file --context --concurrency -m"),
    "docker exec": _wrapper("-e --env -u --user -w --workdir --env-file", "NAME"),
    "podman exec": _wrapper("-e --env -u --user -w --workdir", "NAME"),
    "docker compose exec": _wrapper("-e --env -u --user -w --workdir --index", "LIT"),
    "docker compose run": _wrapper("-e --env -u --user -w --workdir --name -v -p --entrypoint", "LIT"),
    "docker-compose exec": _wrapper("-e --env -u --user -w --workdir --index", "LIT"),
    "docker-compose run": _wrapper("-e --env -u --user -w --workdir --name -v -p --entrypoint", "LIT"),
    "then": _wrapper(),
    "do": _wrapper(),
    "else": _wrapper(),
    "coproc": _wrapper(),
}
"""Programs (and sub-commands) that run another command; it decides what the step is."""

FLAGS: Final = _flags(
    ("git", "-C --git-dir --work-tree:FILE -c:VAL"),
    (
        "git>commit git>tag git>notes git>stash git>merge",
        "-m --message:STR -F --file:FILE --author --date:STR -C -c --fixup --squash:REF -u:NAME",
    ),
    ("git>checkout git>switch", "-b -B -c -C --orphan:BRANCH -t --track:BRANCH"),
    ("git>branch", "-m -M -c -u --set-upstream-to --move --contains --merged --no-merged:BRANCH"),
    (
        "git>log git>show git>diff git>shortlog git>blame",
        "--author --grep --since --until --after --before --format --pretty -S -G:STR -n --max-count:NUM -L:RANGE",
    ),
    ("git>clone", "-b --branch:BRANCH --depth:NUM -o:NAME"),
    ("git>worktree>add", "-b -B:BRANCH"),
    ("git>rebase", "--onto:REF -x --exec:STR"),
    ("git>push", "-d --delete:NONE -o:STR"),
    ("git>cherry-pick git>revert", "-m:NUM"),
    (
        "git>grep grep rg ag ack",
        "-e --regexp:STR -f --file:FILE -A -B -C -m --max-count --context:NUM --include --exclude --exclude-dir "
        "-g --glob:GLOB -t --type:LIT",
    ),
    ("grep rg find test [ [[ unzip ls uniq pgrep git>ls-files", "-o:NONE"),
    ("pip>install pip>list systemctl journalctl loginctl", "--user:NONE"),
    ("set", "-o:LIT"),
    ("sed", "-e --expression:SED -f --file:FILE"),
    ("awk", "-F -v:STR -f:FILE"),
    (
        "find",
        "-name -iname -path -ipath -wholename -regex -iregex -not-path:GLOB -type -perm:LIT -user -group:NAME "
        "-newer:FILE -maxdepth -mindepth -mtime -mmin -atime -ctime -size:NUM -printf:STR -exec -execdir -ok:CMD",
    ),
    ("fd", "-e --extension -t --type:LIT -d --max-depth:NUM -x -X --exec --exec-batch:CMD -E --exclude -g:GLOB"),
    ("head tail", "-n -c --lines --bytes:NUM"),
    ("cut", "-d --delimiter:STR -f -c -b --fields --characters --bytes:NUM"),
    ("sort", "-t:STR -k --key:NUM -o:FILE -S:NUM -T:FILE"),
    ("mkdir", "-m --mode:NUM"),
    ("mount", "-t --types:LIT -o --options:STR"),
    (
        "iptables ip6tables",
        "-A -I -D -P -N -X -p -j -t -m --protocol --jump --table --match --state --ctstate:LIT -s -d:AUTO",
    ),
    ("vagrant>ssh", "-c --command:CODE"),
    ("cProfile", "-s:LIT -o:FILE"),
    ("isort", "--profile:LIT"),
    ("jest vitest mocha", "-t --testNamePattern -g --grep:STR -c --config:FILE -w --maxWorkers:NUM"),
    ("Get-Content", "-Tail -TotalCount -Head:NUM"),
    ("git>restore", "-s --source:REF"),
    ("coverage>run", "-m:MODULE"),
    ("java", "-jar -cp -classpath --class-path:FILE"),
    ("php", "-S:HOST -t:FILE"),
    ("convert magick mogrify", "-resize -crop -quality -density -geometry -gravity -background -rotate:STR"),
    ("code", "--install-extension --uninstall-extension:NAME"),
    ("nix-shell", "-p:PKG"),
    ("New-Item", "-ItemType -Type:LIT -Name:FILE"),
    ("redis-cli", "-a --pass:SECRET"),
    ("paste", "-d:STR"),
    ("join", "-t:STR"),
    ("column", "-s -o:STR"),
    ("stat", "-c --format:STR"),
    ("eslint", "--ext --rule:STR -c --config:FILE"),
    ("xargs", "-d --delimiter:STR -I -i:LIT -n -P -L:NUM"),
    ("python ipython", "-c:CODE -m:MODULE -W -X:LIT"),
    ("bash sh zsh dash fish ksh", "-c:CODE -o:LIT"),
    ("node perl ruby php lua Rscript osascript bun deno", "-e -p -pe -ne --eval --print -r:CODE"),
    (
        "psql pg_dump pg_restore createdb dropdb",
        "-c --command:CODE -f --file -o:FILE -h --host:HOST -U --username -d --dbname -v:NAME -p --port:NUM",
    ),
    ("mysql mysqldump mariadb", "-e --execute:CODE -h --host:HOST -u --user -D --database:NAME -P --port:NUM"),
    ("sqlite3", "-cmd:CODE"),
    ("mongosh mongo", "--eval:CODE"),
    ("redis-cli", "-h:HOST -p -n:NUM"),
    (
        "pytest",
        "-k -m -o:STR -n --maxfail --timeout --durations --lf-count:NUM -c --rootdir --junitxml --ignore "
        "--confcutdir:FILE -p:NAME --deselect:TEST --cov:FILE --tb:LIT",
    ),
    ("unittest", "-k:STR -s:FILE -p:GLOB"),
    (
        "mypy ruff black flake8 isort pylint",
        "-p -m:NAME --config --config-file -c:FILE -l --line-length:NUM -t --target-version --select --ignore "
        "--extend-select:LIT",
    ),
    (
        "pip uv>pip",
        "-r -c --requirement --constraint -t --target:FILE -e --editable:EDITABLE -i --index-url "
        "--extra-index-url -f:URL",
    ),
    (
        "conda conda>create conda>install conda>activate mamba",
        "-n --name:NAME -p --prefix -f --file:FILE -c --channel:LIT",
    ),
    (
        "docker>run podman>run docker>create",
        "--name --network --hostname -h --restart -u --user --platform:NAME -e --env:VAL -v --volume --mount "
        "--env-file -w --workdir:FILE -p --publish --expose -m --memory --cpus:NUM --gpus:LIT --entrypoint:LIT",
    ),
    (
        "docker>exec docker>compose>exec docker>compose>run docker-compose>exec",
        "-e --env:VAL -u --user:NAME -w --workdir --env-file:FILE",
    ),
    (
        "docker>build docker>buildx>build podman>build",
        "-t --tag:IMAGE -f --file:FILE --build-arg --label --secret:VAL --target --platform --progress:LIT",
    ),
    (
        "docker>compose docker-compose docker>compose>up",
        "-f --file --env-file --project-directory:FILE -p --project-name --profile:NAME",
    ),
    (
        "docker>logs docker>compose>logs docker-compose>logs kubectl>logs",
        "--tail --since -n:NUM -c --container:NAME -l:STR",
    ),
    ("docker>login", "-u --username:NAME -p --password:SECRET"),
    ("docker>ps docker>images", "--filter -f --format:STR"),
    (
        "kubectl oc",
        "-n --namespace -c --container --context:NAME -f --filename -k --kubeconfig:FILE -l --selector:STR -o "
        "--output:LIT --replicas:NUM -p:STR --image:IMAGE",
    ),
    ("kubectl>logs docker>compose>logs docker-compose>logs docker>logs", "-f --follow:NONE"),
    ("test [ [[", "-f -d -e -r -w -x -s -L -h -nt -ot:FILE -n -z:STR -eq -ne -gt -lt -ge -le:NUM"),
    ("helm", "-n --namespace:NAME -f --values:FILE --set --set-string:VAL --version:NUM"),
    ("terraform tofu", "-var:VAL -chdir -var-file -out -state:FILE -target:NAME"),
    (
        "gh",
        "-t --title -b --body --search -q --jq --json:STR -F --body-file:FILE -R --repo -B --base -H "
        "--head:BRANCH -l --label -a --assignee:NAME -L --limit:NUM -s --state:LIT",
    ),
    ("gh>api", "-f -F --field -H --jq -q:STR -X --method:LIT"),
    (
        "aws",
        "--profile --region --bucket --key --function-name --stack-name --cluster --instance-ids:NAME "
        "--output:LIT --query --filters:STR",
    ),
    ("gcloud", "--image:IMAGE --project --zone --region --cluster:NAME --format --filter:STR"),
    ("az", "-g --resource-group -n --name -l --location:NAME -o --output:LIT --query:STR"),
    (
        "curl",
        "-X --request:LIT -H --header -d --data --data-raw --data-binary --data-urlencode -F --form -A "
        "--user-agent -w --write-out -e --referer -b --cookie --json:STR -o --output -T --upload-file -c "
        "--cookie-jar -K --cacert --cert --key:FILE -u --user -x --proxy:STR -m --max-time --connect-timeout "
        "--retry:NUM",
    ),
    (
        "wget",
        "-O -o -P --output-document --directory-prefix -i:FILE --header --user-agent -U --post-data:STR -t -T "
        "--tries --timeout:NUM",
    ),
    ("http https", "-a --auth:STR"),
    ("ssh", "-i -F -E -S:FILE -p:NUM -l:NAME -o -L -R -D -J -W:STR"),
    ("scp sftp", "-i -F:FILE -P -l:NUM -o:STR -J:HOST"),
    ("rsync", "-e --rsh:STR --exclude --include:GLOB --exclude-from --include-from --files-from:FILE --bwlimit:NUM"),
    ("ssh-keygen", "-t:LIT -b:NUM -C -N -P:STR -f:FILE -R -F:HOST"),
    ("tar bsdtar gtar", "-f -C --directory --file -T -X:FILE --exclude:GLOB"),
    ("zip unzip 7z", "-d -x:FILE -P:SECRET"),
    (
        "gcc g++ cc c++ clang clang++ ld nvcc gfortran",
        "-std:LIT -o -I -L -include -isystem -T:FILE -D -U -arch -framework -target -x:LIT",
    ),
    ("make ninja", "-C -f --directory --file:FILE -j --jobs:NUM"),
    ("cmake", "-S -B --build --install -C --prefix -P:FILE -G:STR --target -t --config --preset:LIT -j --parallel:NUM"),
    (
        "cargo",
        "-p --package --bin --example --test --bench --features -F --target --profile:NAME --manifest-path --path "
        "--target-dir:FILE -j --jobs:NUM",
    ),
    (
        "go>build go>test go>run go>install go>vet",
        "-o -C -coverprofile -modfile:FILE -run -bench -tags -ldflags -gcflags -skip:STR -timeout -count -parallel:NUM",
    ),
    ("cargo>clippy", "-D -W -A -F:LIT"),
    ("npm pnpm yarn", "--access:LIT --prefix -C --dir --cwd:FILE -w --workspace --filter -F:NAME"),
    ("jq yq", "--arg --argjson:STR -f --from-file:FILE --indent:NUM"),
    ("tmux", "-t -s -n:NAME -c:FILE"),
    ("screen", "-S -r -x:NAME"),
    ("systemctl journalctl", "-u --unit:NAME -n --lines:NUM --since --until:STR -p -o -t:LIT"),
    ("useradd usermod adduser groupadd", "-s -d -m-d:FILE -G -g -u -c:NAME"),
    ("chown chgrp chmod touch truncate", "--reference:FILE -s --size:NUM -d -t:STR"),
    ("install", "-m -o -g:LIT -t:FILE"),
    ("date", "-d --date:STR -r:FILE"),
    ("nc ncat netcat telnet", "-p -w -i:NUM -e -c:FILE -s:HOST"),
    ("nmap masscan", "-p --top-ports --min-rate:NUM -oN -oA -oX -oG -iL:FILE --script -D:NAME"),
    ("hydra medusa", "-l -p:NAME -L -P -C -o:FILE -s -t -w:NUM"),
    ("john", "--wordlist -w:FILE --format:LIT"),
    ("hashcat", "-m -a:NUM -o -r:FILE"),
    ("fcrackzip", "-p:FILE -l:NUM -c:LIT"),
    ("gobuster ffuf dirb nikto sqlmap wfuzz", "-u --url -h:URL -w -o:FILE -t:NUM -x -H:STR"),
    ("ping", "-c -i -W -w -s -t:NUM -I:NAME"),
    ("dig nslookup host", "-t:LIT -p:NUM"),
    ("ps kill pkill pgrep top htop lsof", "-p:NUM -u -U -C:NAME -o -s --sort:LIT -i:AUTO"),
    (
        "openssl",
        "-in -out -inkey -CA -CAkey -CAfile -key -keyout -config:FILE -days:NUM -subj -pass -passin -passout "
        "-newkey:STR "
        "-connect:HOST",
    ),
    ("gpg gpg2", "-o --output:FILE -r -u --recipient --local-user --keyserver:NAME"),
    (
        "ffmpeg ffprobe",
        "-i:FILE -c -c:v -c:a -f -vcodec -acodec -preset:LIT -ss -to -t -r -b -b:v -crf:NUM -vf -af "
        "-filter_complex -map -s:STR",
    ),
    ("manage.py django-admin", "--settings:NAME -k:STR --pythonpath:FILE"),
    (
        "uvicorn gunicorn hypercorn flask streamlit",
        "--host -h -b --bind:HOST --port -p --workers -w -t --timeout:NUM -k --app:NAME",
    ),
    ("alembic", "-m --message:STR -c:FILE"),
    ("celery", "-A -Q -n:NAME -c:NUM -l --loglevel:LIT"),
    (
        "ansible ansible-playbook",
        "-i --inventory --vault-password-file --private-key:FILE -m --module-name:LIT -u --user -l --limit -t "
        "--tags:NAME -a -e --args --extra-vars:STR",
    ),
    ("sphinx-build", "-b:LIT -c -d:FILE -D -A:VAL -j:NUM"),
    ("vim nano emacs code subl less more view", "-c:STR"),
    ("read", "-p -d:STR -t -n:NUM"),
    ("ls tree du df", "-I -P:GLOB -L -d --max-depth:NUM"),
    ("patch", "-p:NUM -i -d -o:FILE"),
    ("diff", "-I:STR -x:GLOB -U:NUM"),
    ("base64 fold nl split", "-w -l -b -n:NUM"),
    ("xxd hexdump od strings", "-l -s -n -N -c:NUM -e -A -t:LIT"),
    ("mvn gradle gradlew", "-pl -P -p -f:FILE -Dtest -Dit.test --tests:TEST"),
    ("dotnet", "-c --configuration -f --framework -r --runtime:LIT -o --output --project:FILE --filter:STR"),
    ("xcodebuild", "-project -workspace:FILE -scheme -sdk -configuration -destination:STR"),
    ("adb", "-s:NAME"),
    ("crontab", "-u:NAME"),
    ("restic", "-r --repo -p --password-file:FILE"),
    ("useradd", "-s:FILE"),
    ("open_file open edit", "-a:STR"),
)
"""Class of the value of a flag, by program or by program and sub-command."""

COMMON_FLAGS: Final = {
    "-o": "AUTO",
    "--output": "AUTO",
    "--config": "FILE",
    "--file": "FILE",
    "--name": "NAME",
    "--message": "STR",
    "--title": "STR",
    "--description": "STR",
    "--body": "STR",
    "--port": "NUM",
    "--host": "HOST",
    "--user": "NAME",
    "--username": "NAME",
    "--password": "VAL",
    "--token": "VAL",
    "--env": "VAL",
    "--branch": "BRANCH",
    "--tag": "NAME",
    "--format": "LIT",
    "--level": "LIT",
    "--log-level": "LIT",
    "--type": "LIT",
}
"""Class of the value of a flag that means the same nearly everywhere; a value that looks like another flag is none."""

POSITIONAL: Final = _each(
    (
        "cat less more bat head tail wc nl tac sort uniq file stat touch rm rmdir mkdir ls ll la l dir tree du df "
        "source . vim nano emacs code subl gedit view micro helix hx open xdg-open realpath readlink basename "
        "dirname md5sum sha1sum sha256sum shasum cksum cd pushd z j cp mv ln diff cmp comm meld unlink shred "
        "strings xxd hexdump od zcat gunzip gzip bzip2 bunzip2 xz unxz zstd unzip zip unrar 7z>a 7z>x 7z>e 7z>l "
        "pycodestyle flake8 "
        "pylint mypy pyright black isort eslint prettier dash ksh fish tee truncate shellcheck shfmt cloc "
        "nbconvert tidy xmllint yamllint hadolint mkfifo open_file create edit_file view_file str_replace_editor "
        "str_replace_based_edit_tool Read Edit Write MultiEdit NotebookEdit LS pg_restore xcopy robocopy mklink attrib "
        "cat_file read_file write_file delete_file del copy move md rd Get-Content Set-Location Remove-Item "
        "Get-ChildItem New-Item Copy-Item Move-Item feh eog evince zathura mpv vlc play aplay insmod rmmod blkid "
        "mount umount fsck swapon badblocks rustc javac kotlinc ghc ocaml racket sbcl guile pdflatex xelatex "
        "latexmk pandoc sphinx-quickstart sphinx-build sphinx-apidoc john fcrackzip binwalk steghide exiftool "
        "identify convert magick ffmpeg ffprobe mogrify jpegoptim pngquant",
        "FILE",
    ),
    ("grep egrep rg ag ack git>grep zgrep", "STR FILE"),
    ("sed", "SED FILE"),
    ("awk", "STR FILE"),
    ("jq yq", "STR FILE"),
    ("tr", "STR"),
    ("fd", "STR FILE"),
    ("locate mlocate apropos", "STR"),
    ("find", "FILE"),
    ("split csplit", "FILE"),
    ("echo printf print write-host Write-Host Write-Output logger wall say notify-send", "STR"),
    ("export declare local readonly typeset set setenv", "VAL"),
    ("unset unalias", "NAME"),
    ("alias", "VAL"),
    ("chmod", "MODE FILE"),
    ("chown chgrp", "NAME FILE"),
    ("kill", "NUM"),
    ("type", "AUTO"),
    ("man which whereis command-v info tldr help hash where whatis", "NAME"),
    ("pkill killall pgrep", "NAME"),
    ("su id passwd finger groups chsh login last", "NAME"),
    ("adduser useradd userdel usermod deluser groupadd groupdel", "NAME"),
    ("service rc-service chkconfig update-rc.d", "NAME LIT"),
    ("rc-update", "LIT NAME"),
    ("systemctl", "NAME"),
    ("ping ping6 traceroute tracepath mtr dig nslookup host whois arping fping", "HOST"),
    ("nmap masscan nikto", "HOST"),
    ("ssh mosh sftp ftp ssh-copy-id ssh-keyscan rlogin rdesktop", "HOST CMD"),
    ("telnet nc ncat netcat", "HOST AUTO"),
    ("tar bsdtar gtar", "BUNDLE FILE"),
    ("scp rsync", "REMOTE"),
    ("curl wget http https aria2c httpie lynx w3m links firefox chromium google-chrome youtube-dl yt-dlp", "URL"),
    ("python ipython", "FILE AUTO"),
    ("node deno>run ts-node tsx php ruby perl lua Rscript bash sh zsh", "FILE AUTO"),
    ("java", "NAME AUTO"),
    ("pytest py.test nose2 nosetests jest vitest mocha ava", "TESTFILE"),
    ("unittest runtests.py bin/test manage.py>test", "TEST"),
    ("tox nox", "AUTO"),
    (
        "make gmake just task rake ninja invoke inv fab gradle gradlew mvn mvnw gulp grunt ant scons meson sbt "
        "mill lein fastlane",
        "LIT",
    ),
    ("yarn>workspace", "NAME LIT PKG"),
    ("turbo>run nx>run lerna>run", "LIT AUTO"),
    ("adb>shell", "CMD"),
    ("gcloud>compute>ssh gcloud>run>deploy gcloud>functions>deploy", "NAME"),
    ("npm>run pnpm>run yarn>run bun>run npm>run-script deno>task composer>run", "LIT AUTO"),
    (
        "npm>install npm>i npm>add npm>uninstall npm>remove npm>update npm>view npm>info npm>ci npm>link "
        "npm>outdated npm>rm npm>un yarn>add yarn>remove yarn>upgrade yarn>global yarn>why pnpm>add pnpm>install "
        "pnpm>remove pnpm>update pnpm>i bun>add bun>install bun>remove pip>install pip>uninstall pip>show "
        "pip>download pip>wheel pipx>install pipx>uninstall pipx>upgrade uv>add uv>remove uv>pip>install "
        "uv>pip>uninstall uv>pip>show uv>tool>install poetry>add poetry>remove poetry>show poetry>update pdm>add "
        "pdm>remove rye>add pipenv>install pipenv>uninstall conda>install conda>remove conda>update mamba>install "
        "hatch>add apt>install apt>remove apt>purge apt>search apt>show apt>policy apt>reinstall apt-cache "
        "aptitude dpkg-query brew>install brew>uninstall brew>upgrade brew>info brew>search brew>reinstall "
        "dnf>install dnf>remove dnf>search yum>install yum>remove yum>search zypper>install zypper>in apk>add "
        "apk>del snap>install snap>remove flatpak>install choco>install winget>install scoop>install port>install "
        "emerge pacman yay paru xbps-install cargo>add cargo>remove cargo>install go>get go>install gem>install "
        "gem>uninstall bundle>add composer>require composer>remove dotnet>add cpan cpanm luarocks>install "
        "opam>install stack>install cabal>install nix-env asdf>install asdf>plugin Install-Module",
        "PKG",
    ),
    (
        "git>add git>status git>rm git>mv git>restore git>apply git>am git>blame git>ls-files git>check-ignore "
        "git>clean git>update-index",
        "FILE",
    ),
    (
        "git>checkout git>switch git>merge git>rebase git>revert git>cherry-pick git>merge-base git>rev-parse "
        "git>rev-list git>describe git>shortlog git>cherry git>branch git>cat-file git>difftool git>format-patch "
        "git>bisect>good git>bisect>bad git>bisect>start git>range-diff git>archive git>ls-tree git>stash>branch "
        "git>name-rev git>reflog>show git>diff-tree",
        "REF",
    ),
    ("git>diff git>log git>show git>reset", "PATHREF"),
    ("git>push git>pull git>fetch", "LIT REF"),
    ("git>remote>add git>remote>set-url", "LIT URL"),
    ("git>remote>remove git>remote>show git>remote>rename git>remote>get-url", "LIT"),
    ("git>clone git>submodule>add", "URL FILE"),
    ("git>tag", "TAG REF"),
    ("git>config", "KEY VAL"),
    ("npm>config yarn>config pip>config aws>configure>set poetry>config", "LIT VAL"),
    ("gcloud>config>set gcloud>config>get-value gcloud>config>unset", "LIT NAME"),
    ("git>init", "FILE"),
    ("git>worktree>add git>worktree>remove", "FILE REF"),
    ("git>stash>push", "FILE"),
    ("git>stash>pop git>stash>apply git>stash>drop git>stash>show", "LIT"),
    ("git>ls-remote", "LIT REF"),
    ("docker>run docker>create podman>run", "IMAGE CMD"),
    (
        "docker>pull docker>push docker>rmi docker>tag docker>save docker>history docker>scan docker>image>rm "
        "docker>image>inspect docker>image>pull podman>pull podman>push podman>rmi",
        "IMAGE",
    ),
    (
        "docker>stop docker>start docker>restart docker>rm docker>kill docker>logs docker>inspect docker>attach "
        "docker>top docker>stats docker>port docker>wait docker>pause docker>unpause docker>commit docker>rename "
        "docker>container>rm docker>container>stop docker>volume>rm docker>volume>create docker>volume>inspect "
        "docker>network>create docker>network>rm docker>network>inspect docker>network>connect podman>stop "
        "podman>rm podman>logs",
        "NAME",
    ),
    ("docker>cp podman>cp kubectl>cp", "REMOTE"),
    ("docker>build podman>build docker>buildx>build docker>load docker>import", "FILE"),
    (
        "docker>compose>up docker>compose>logs docker>compose>restart docker>compose>build docker>compose>stop "
        "docker>compose>start docker>compose>rm docker>compose>pull docker>compose>ps docker>compose>down "
        "docker>compose>kill docker-compose>up docker-compose>logs docker-compose>restart docker-compose>build "
        "docker-compose>stop docker-compose>start docker-compose>rm docker-compose>pull docker-compose>ps "
        "docker-compose>down",
        "LIT",
    ),
    ("docker>login docker>logout", "HOST"),
    (
        "kubectl>logs kubectl>exec kubectl>port-forward kubectl>attach kubectl>run kubectl>cordon kubectl>drain "
        "kubectl>uncordon",
        "NAME AUTO",
    ),
    ("kubectl oc", "NAME"),
    ("kubectl>rollout>status kubectl>rollout>restart kubectl>rollout>undo kubectl>scale", "NAME"),
    ("helm>install helm>upgrade helm>template", "NAME AUTO"),
    ("helm>uninstall helm>rollback helm>status helm>history helm>get helm>delete", "NAME NUM"),
    ("helm>repo>add", "NAME URL"),
    (
        "rpk>topic>create rpk>topic>delete rpk>topic>describe rpk>topic>produce rpk>topic>consume nats>stream>add "
        "nats>stream>rm rabbitmqctl>add_user rabbitmqctl>delete_user rabbitmqctl>add_vhost rabbitmqctl>delete_vhost "
        "doctl>compute>droplet>create doctl>compute>droplet>delete openstack>server>create openstack>server>delete",
        "NAME",
    ),
    (
        "terraform>import terraform>state>rm terraform>state>show terraform>workspace>select "
        "terraform>workspace>new terraform>taint terraform>untaint",
        "NAME",
    ),
    (
        "aws>s3>cp aws>s3>mv aws>s3>sync aws>s3>ls aws>s3>rm aws>s3>mb gsutil>cp gsutil>ls gsutil>rm gsutil>rsync "
        "rclone>copy rclone>sync",
        "REMOTE",
    ),
    (
        "gh>pr>view gh>pr>checkout gh>pr>merge gh>pr>close gh>pr>review gh>pr>diff gh>pr>checks gh>issue>view "
        "gh>issue>close gh>issue>edit gh>run>view gh>run>watch gh>run>rerun gh>pr>edit gh>pr>ready "
        "gh>issue>comment gh>pr>comment",
        "NUM",
    ),
    (
        "gh>repo>clone gh>repo>view gh>repo>create gh>repo>fork gh>release>create gh>release>view "
        "gh>release>download gh>secret>set gh>api",
        "NAME",
    ),
    ("psql createdb dropdb createuser pg_dump mysql mysqldump mysqladmin mariadb mongosh mongo", "NAME"),
    ("sqlite3", "FILE CODE"),
    ("redis-cli", "LIT NAME"),
    (
        "conda>activate workon deactivate pyenv>local pyenv>global pyenv>install pyenv>activate nvm>use "
        "nvm>install nvm>alias rbenv>local rustup>default rustup>target>add rustup>component>add conda>create "
        "sdk>use sdk>install asdf>global asdf>local mise>use fnm virtualenvwrapper tmux screen",
        "NAME",
    ),
    ("venv virtualenv uv>venv pdb cProfile py_compile compileall timeit trace ensurepip json.tool", "FILE"),
    (
        "manage.py>migrate manage.py>makemigrations manage.py>sqlmigrate manage.py>startapp manage.py>loaddata "
        "manage.py>showmigrations manage.py>dumpdata",
        "NAME",
    ),
    ("manage.py>runserver", "HOST"),
    ("rails>generate rails>g", "LIT NAME"),
    ("rails>db rails>server", "LIT"),
    ("uvicorn gunicorn hypercorn celery", "NAME"),
    ("streamlit>run flet_run manim locust", "FILE"),
    ("alembic>upgrade alembic>downgrade alembic>stamp", "LIT"),
    ("ollama>run ollama>pull ollama>rm ollama>show huggingface-cli>download hf>download", "NAME FILE"),
    ("go>run go>fmt go>vet go>test go>build go>generate", "FILE"),
    ("cargo>new cargo>init", "FILE"),
    ("cargo>test cargo>bench", "NAME"),
    (
        "rustfmt gofmt goimports clang-format clang-tidy autopep8 yapf stylelint standard biome ruff_check ruff_format",
        "FILE",
    ),
    ("ruff", "LIT FILE"),
    ("gcc g++ cc c++ clang clang++ ld nvcc gfortran ar nm objdump readelf ldd strip gdb lldb valgrind", "FILE"),
    ("openssl>x509 openssl>rsa openssl>req openssl>genrsa openssl>enc openssl>dgst", "AUTO"),
    ("tmux>send-keys tmux>send", "STR"),
    ("tmux>attach tmux>new tmux>kill-session tmux>new-session tmux>ls tmux>a", "NAME"),
    ("crontab", "FILE"),
    ("date", "STR"),
    ("cal sleep seq yes factor bc expr", "AUTO"),
    ("dd", "AUTO"),
    ("ansible", "NAME"),
    ("ansible-playbook packer>build", "FILE"),
    ("vagrant>up vagrant>ssh vagrant>halt vagrant>destroy", "NAME"),
    ("history fg bg jobs disown wait", "AUTO"),
    ("cut paste column join fmt fold pr rev expand", "FILE"),
    ("gpg gpg2 age", "FILE"),
    ("hydra medusa", "AUTO"),
    ("edit goto scroll_down scroll_up submit", "AUTO"),
    ("find_file search_dir search_file grep_search codebase_search Grep", "STR FILE"),
    ("Glob", "GLOB FILE"),
    ("WebFetch", "URL STR"),
    ("WebSearch Task", "STR"),
    ("ip>a ip>addr ip>link ip>route", "LIT NAME"),
    ("iwconfig ethtool ifup ifdown tcpdump", "NAME"),
    ("ifconfig ip>link>set", "NAME LIT"),
    ("exit return shift break continue umask ulimit", "AUTO"),
    ("test [ [[", "AUTO"),
    ("trap", "STR LIT"),
    ("eval", "STR"),
    ("read", "NAME"),
    ("modprobe lsmod dpkg rpm", "AUTO"),
    (
        "Set-ExecutionPolicy Get-Process Stop-Process Get-Service Where-Object ForEach-Object Select-Object "
        "Sort-Object Import-Module",
        "AUTO",
    ),
)
"""Classes of the arguments, by program or by program and sub-command."""

DISTINCT: Final = frozenset(
    name.replace(">", " ")
    for name in _words(
        "cp mv ln mount diff cmp comm scp rsync install link rename join meld sdiff vimdiff ssh nc convert copy move "
        "Copy-Item Move-Item python node bash sh test [ [[ seq git>mv git>diff git>merge-base git>rebase "
        "git>push git>worktree>add gsutil>cp aws>s3>cp aws>s3>sync aws>s3>mv docker>cp kubectl>cp docker>tag"
    )
)
"""Programs whose last argument means something else than those before it: a run keeps its last one apart."""

DIGIT_FLAGS: Final = _words(
    "kill pkill killall gzip bzip2 xz zstd zip 7z ls ssh scp curl wget ping nmap gcc g++ clang "
    "clang++ cc rsync tree sort comm paste xargs"
)
"""Programs whose flags of one digit are flags (``kill -9``, ``ls -1``), not counts (``head -5``)."""

CREATES: Final = {
    **dict.fromkeys(
        _words(
            "touch mkdir tee truncate mkfifo vim nano emacs code subl gedit micro helix hx open_file "
            "create edit_file write_file New-Item md"
        ),
        "all",
    ),
    **dict.fromkeys(_words("cp mv ln install rsync scp Copy-Item Move-Item copy move"), "last"),
    **dict.fromkeys(("git clone", "git init", "cargo new", "venv", "virtualenv", "uv venv", "git worktree add"), "all"),
}
"""Programs that write the files they name: ``all`` of them or only the ``last``."""

WRITING_FLAGS: Final = _words(
    "-o -O --output --output-document --out -out --outfile --output-file -coverprofile --junitxml -cf -czf -cvf -czvf"
)
"""Flags whose value is a file that the program writes."""

TEST_RUNNERS: Final = _words(
    "pytest tox nox jest vitest mocha ava rspec phpunit pest ctest unittest nose2 trial busted bats"
)
"""Programs that run tests; others do when ``test`` or ``spec`` is a word of their name or sub-command."""

BUILD_TOOLS: Final = _words("make gmake ninja just task rake gradle gradlew mvn mvnw sbt ant scons")
"""Programs that run tests when one of their targets is called so."""
