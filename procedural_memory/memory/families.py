"""What commands do, as data: tool families, equivalent jobs, verbs and opposites; and how a template is read.

A command is reduced to acts ``(family, verb, object)``: ``npm ci`` and ``yarn install --frozen-lockfile``
both read ``("js", "install", "")``. Four tables carry all of it, in the order in which they are consulted:

- `ALIASES`: the very same program under another name (``python3``, ``apt-get``);
- `JOBS`: commands whose job is not their first word (``git checkout -b``, ``tar -x``, ``pytest``);
- `FAMILIES`: programs that are alternatives for one another; the verb is then the sub-command, through
  `VERBS`;
- `OPPOSITES`: verbs that undo or oppose each other.

A program in no table is its own family and its first word its verb, so that nothing needs to be listed to
work.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

__all__ = ["FAMILIES", "JOBS", "LOOKING", "OPPOSITES", "VERBS", "Act", "fold", "read"]


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(";")]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ALIASES: Final[dict[str, str]] = {
    "apt": "apt-get apt-cache aptitude",
    "bat": "batcat",
    "cat": "zcat",
    "cmake": "cmake3",
    "conda": "mamba micromamba",
    "docker-compose": "podman-compose",
    "fd": "fdfind",
    "gradle": "gradlew",
    "grep": "egrep fgrep",
    "kubectl": "microk8s.kubectl",
    "ls": "ll",
    "make": "gmake",
    "mvn": "mvnw",
    "mysql": "mariadb",
    "mysqladmin": "mariadb-admin",
    "mysqldump": "mariadb-dump",
    "ninja": "ninja-build",
    "node": "nodejs",
    "pip": "pip3",
    "pytest": "py.test",
    "python": "python3 python2 py pypy pypy3",
    "rg": "ripgrep",
    "vim": "vi nvim",
}
"""Program -> other names of the very same program."""

FAMILIES: Final[dict[str, str]] = {
    "vcs": "git hg svn jj bzr fossil darcs sl",
    "forge": "gh glab hub tea",
    "js": "npm yarn pnpm bun deno npx",
    "python": "pip uv poetry pipenv pdm rye hatch conda flit",
    "ruby": "gem bundle rake",
    "php": "composer",
    "rust": "cargo rustup",
    "go": "go",
    "jvm": "mvn gradle ant sbt lein",
    "dotnet": "dotnet nuget msbuild",
    "native": "make cmake meson ninja bazel buck scons waf xmake autoreconf",
    "tasks": "just task invoke nox tox",
    "container": "docker podman nerdctl buildah",
    "compose": "docker-compose",
    "cluster": "kubectl oc k9s k3s kustomize skaffold tilt",
    "chart": "helm helmfile",
    "minicluster": "minikube kind k3d",
    "infra": "terraform tofu terragrunt pulumi cdk cdktf",
    "machines": "ansible-playbook ansible chef puppet salt vagrant packer multipass",
    "cloud": "aws gcloud az doctl linode-cli oci",
    "bucket": "gsutil s3cmd mc rclone azcopy s5cmd",
    "paas": "heroku fly flyctl vercel netlify railway render wrangler firebase",
    "system": "apt dnf yum zypper pacman apk brew port emerge snap flatpak pkg nix-env choco winget scoop dpkg "
    "rpm yay",
    "service": "systemctl service rc-service rc-update update-rc.d launchctl supervisorctl sv pm2 initctl "
    "chkconfig",
    "sql": "psql mysql sqlite3 duckdb clickhouse-client sqlcmd sqlplus cockroach usql pgcli mycli litecli",
    "migrations": "alembic flyway liquibase dbmate goose sqlx prisma knex sequelize",
    "editor": "vim nano emacs code micro helix hx subl ed gedit kate",
    "users": "useradd adduser usermod userdel deluser groupadd addgroup passwd chage groupdel",
    "firewall": "ufw firewall-cmd iptables nft",
    "shellrc": "source .",
    "mux": "tmux screen zellij",
    "serve": "uvicorn gunicorn hypercorn flask waitress-serve daphne granian",
}  # fmt: skip
"""Programs of one family are alternatives for the same jobs. A program stands in one family at most."""

JOBS: Final[dict[str, str]] = {
    # version control. Words must follow the program in this order; flags may stand anywhere; `*` is any
    # one word.
    "vcs branch new": "git checkout -b; git checkout -B; git switch -c; git switch -C; git switch --create; "
    "hg branch; hg bookmark; jj bookmark create; git worktree add -b; git checkout --orphan; svn copy",
    "vcs remove branch": "git branch -d; git branch -D; git branch --delete; git push --delete; git push -d",
    "vcs list branch": "git branch; git branch -a; git branch -r; git branch -v; hg branches; "
    "git branch --list; hg bookmarks",
    "vcs checkout": "git checkout; git switch; hg update; hg up; hg checkout; svn switch; jj edit; sl goto",
    "vcs discard": "git restore; git checkout --; git clean; hg revert; svn revert; jj restore",
    "vcs unstage": "git restore --staged; git reset; git rm --cached; hg forget; git reset HEAD",
    "vcs undo": "git reset --soft; git reset --mixed; hg uncommit; git revert; hg backout; jj undo",
    "vcs reset": "git reset --hard; hg update --clean; hg update -C; hg strip; git reset --merge",
    "vcs fetch": "git fetch; git remote update; hg incoming; jj git fetch; svn status -u",
    "vcs pull": "git pull; hg pull -u; hg pull; svn update; svn up; hg fetch",
    "vcs rebase": "git rebase; git pull --rebase; hg rebase; jj rebase; git pull -r",
    "vcs merge": "git merge; hg merge; svn merge; git merge --no-ff; git merge --squash",
    "vcs abort": "git rebase --abort; git merge --abort; git cherry-pick --abort; hg rebase --abort; "
    "git am --abort",
    "vcs continue": "git rebase --continue; git merge --continue; git cherry-pick --continue; "
    "hg rebase --continue",
    "vcs pick": "git cherry-pick; hg graft; git am; git apply; hg import; svn patch; jj duplicate",
    "vcs patch": "git format-patch; hg export; git diff --output",
    "vcs clone": "git clone; hg clone; svn checkout; svn co; jj git clone; gh repo clone",
    "vcs commit": "git commit; hg commit; hg ci; svn commit; svn ci; jj commit; jj describe; bzr commit; "
    "git commit -a",
    "vcs amend": "git commit --amend; hg commit --amend; hg amend; jj squash",
    "vcs stash": "git stash; git stash push; git stash save; hg shelve",
    "vcs unstash": "git stash pop; git stash apply; hg unshelve",
    "vcs list stash": "git stash list; git stash show; hg shelve --list",
    "vcs remove stash": "git stash drop; git stash clear; hg shelve --delete",
    "vcs log": "git log; hg log; svn log; jj log; git reflog; git shortlog; hg history; tig",
    "vcs blame": "git blame; hg annotate; hg blame; svn blame; git annotate",
    "vcs tag": "git tag; git tag -a; hg tag; git tag -s",
    "vcs list tag": "git tag -l; git tag --list; git describe; hg tags; git describe --tags",
    "vcs remove tag": "git tag -d; git tag --delete; hg tag --remove",
    "vcs push tags": "git push --tags; git push --follow-tags",
    "vcs bisect": "git bisect; hg bisect",
    "vcs track": "git lfs track; git lfs install",
    # packages
    "js install": "npm install; npm i; npm ci; npm add; yarn; yarn install; yarn add; pnpm install; pnpm i; "
    "pnpm add; bun install; bun add; bun i; npm install --save-dev; npm clean-install; deno add; "
    "deno install",
    "js publish": "npm publish; yarn publish; yarn npm publish; pnpm publish; bun publish",
    "js outdated": "npm outdated; yarn outdated; pnpm outdated; ncu; bun outdated",
    "js upgrade": "npm update; npm upgrade; yarn upgrade; yarn up; pnpm update; pnpm up; bun update; ncu -u",
    "js test": "npm test; npm t; npm run test; yarn test; pnpm test; jest; vitest; mocha; ava; bun test; "
    "node --test; deno test; karma start; cypress run; playwright test",
    "js lint": "eslint; oxlint; standard; biome lint; npm run lint; yarn lint; pnpm lint; stylelint; "
    "deno lint",
    "js format": "prettier; biome format; dprint fmt; deno fmt; eslint --fix; npm run format",
    "js typecheck": "tsc --noemit; tsc --noEmit; npm run typecheck; npm run type-check; yarn typecheck; "
    "vue-tsc; flow",
    "js build": "tsc; vite build; webpack; rollup; esbuild; parcel build; next build; turbo build; swc; "
    "ng build",
    "js dev": "npm start; npm run dev; npm run start; npm run serve; yarn dev; yarn start; pnpm dev; "
    "pnpm start; vite; next dev; vite dev; nodemon; bun dev; webpack serve; ng serve; vite serve; astro dev",
    "js init": "npm init; npm create; yarn init; yarn create; pnpm init; pnpm create; bun init; bun create; "
    "create-react-app; npx create-react-app; create-vite",
    "python install": "pip install; uv pip install; uv add; uv sync; uv pip sync; poetry add; "
    "poetry install; pipenv install; pipenv sync; pdm add; pdm install; conda install; easy_install; "
    "pip install -r; rye add; rye sync; uv tool install; pip-sync; conda env update",
    "python remove": "pip uninstall; uv pip uninstall; uv remove; poetry remove; pipenv uninstall; "
    "pdm remove; conda remove; conda uninstall; rye remove; uv tool uninstall",
    "python upgrade": "pip install --upgrade; pip install -U; uv lock --upgrade; uv pip install --upgrade; "
    "uv pip install -U; poetry update; pipenv update; pdm update; conda update; uv sync --upgrade; "
    "uv add --upgrade; conda upgrade",
    "python env": "python -m venv; virtualenv; uv venv; conda create; pipenv --python; poetry env use; "
    "pyenv virtualenv; python -m virtualenv; mkvirtualenv; conda env create; pew new; pdm venv create",
    "python remove env": "conda env remove; rmvirtualenv; pipenv --rm; poetry env remove; pyenv uninstall",
    "python activate": "conda activate; workon; pipenv shell; poetry shell; pyenv activate; source activate",
    "python deactivate": "deactivate; conda deactivate; pyenv deactivate",
    "python freeze": "pip freeze; pip-compile; uv lock; uv pip freeze; uv pip compile; poetry lock; "
    "pipenv lock; uv export; poetry export; conda env export; pipenv requirements; pdm lock; "
    "conda list --export; pdm export",
    "python list": "pip list; uv pip list; pip show; poetry show; conda list; pipenv graph; pdm list; "
    "uv tree; uv pip show",
    "python test": "pytest; python -m pytest; python -m unittest; nose2; tox; nox; uv run pytest; trial; "
    "ward; hatch test; python manage.py test; python setup.py test; unittest; nosetests; hatch run test",
    "python coverage": "coverage; pytest --cov; coverage report; coverage html",
    "python lint": "flake8; pylint; ruff check; ruff; pycodestyle; pyflakes; bandit; hatch fmt --check; "
    "black --check; ruff format --check",
    "python format": "black; ruff format; yapf; autopep8; isort; ruff check --fix; blue; hatch fmt; "
    "docformatter",
    "python typecheck": "mypy; pyright; pyre; pytype; ty check; basedpyright; pyre check; dmypy run",
    "python build": "python -m build; python setup.py; poetry build; uv build; hatch build; flit build; "
    "pdm build; build; python setup.py sdist; python setup.py bdist_wheel; pip wheel; maturin build",
    "python publish": "twine upload; poetry publish; uv publish; hatch publish; flit publish; pdm publish; "
    "maturin publish",
    "python repl": "ipython; bpython; ptpython; python -i; python",
    "python notebook": "jupyter; jupyter lab; jupyter notebook; jupyter-lab; jupyter-notebook",
    "python convert notebook": "jupyter nbconvert; papermill; jupytext; quarto render",
    "python serve": "uvicorn; gunicorn; hypercorn; flask run; python manage.py runserver; fastapi dev; "
    "fastapi run; daphne; waitress-serve; granian; flask --app",
    "python run": "python <FILE>; python -c; python -; python <<",
    "db migrate": "python manage.py migrate; alembic upgrade; flask db upgrade; rails db:migrate; "
    "rake db:migrate; prisma migrate; prisma migrate dev; prisma migrate deploy; knex migrate:latest; "
    "sequelize db:migrate; flyway migrate; liquibase update; dbmate up; goose up; sqlx migrate run; "
    "npx prisma migrate; diesel migration run; php artisan migrate; typeorm migration:run; migrate up; "
    "bin/rails db:migrate; aerich upgrade",
    "db rollback": "alembic downgrade; flask db downgrade; rails db:rollback; rake db:rollback; "
    "knex migrate:rollback; sequelize db:migrate:undo; liquibase rollback; dbmate down; goose down; "
    "sqlx migrate revert; diesel migration revert; dbmate rollback; php artisan migrate:rollback; "
    "flyway undo; typeorm migration:revert; migrate down; prisma migrate reset",
    "db new migration": "python manage.py makemigrations; alembic revision; flask db migrate; "
    "rails generate migration; rails g migration; knex migrate:make; prisma migrate dev --create-only; "
    "dbmate new; goose create; sqlx migrate add; diesel migration generate; php artisan make:migration; "
    "aerich migrate",
    "rust test": "cargo test; cargo nextest; cargo nextest run; cargo t",
    "rust format": "cargo fmt; rustfmt",
    "rust lint": "cargo clippy",
    "rust check": "cargo check; cargo c",
    "rust build": "cargo build; cargo b; rustc",
    "rust install": "cargo add; cargo install",
    "rust init": "cargo new; cargo init",
    "go format": "gofmt; go fmt; goimports; gofumpt",
    "go lint": "go vet; golangci-lint run; golangci-lint; staticcheck; golint",
    "go install": "go get; go install; go mod download",
    "go tidy": "go mod tidy; go mod vendor",
    "go test": "go test; gotestsum; ginkgo",
    "go init": "go mod init",
    "jvm build": "mvn package; mvn install; mvn compile; gradle build; gradle assemble; ant; sbt compile; "
    "mvn verify; sbt assembly; gradle jar; mvn clean package; mvn clean install; gradle bootJar; "
    "mvn clean verify; gradle clean build; javac; ant build",
    "jvm test": "mvn test; gradle test; sbt test; ant test; gradle check",
    "jvm clean": "mvn clean; gradle clean; sbt clean; ant clean",
    "jvm run": "java -jar; mvn exec:java; gradle run; sbt run; mvn spring-boot:run; gradle bootRun",
    "ruby install": "bundle install; gem install; bundle add; bundle",
    "ruby test": "rspec; rake test; rails test; bundle exec rspec; minitest; bin/rails test",
    "ruby lint": "rubocop; standardrb",
    "php install": "composer install; composer require",
    "php test": "phpunit; pest; php artisan test",
    "dotnet install": "dotnet restore; dotnet add; nuget install; nuget restore",
    # native builds
    "native configure": "cmake; cmake -S; cmake -B; meson setup; configure; autoreconf; qmake; ./configure; "
    "autogen.sh; meson",
    "native build": "make; cmake --build; meson compile; ninja; bazel build; make all; make build; gcc; "
    "g++; clang; clang++; cc; scons; waf build; xmake",
    "native test": "ctest; make test; make check; meson test; ninja test; bazel test; "
    "cmake --build --target test",
    "native install": "make install; cmake --install; meson install; ninja install; "
    "cmake --build --target install; checkinstall",
    "native clean": "make clean; make distclean; ninja clean; ninja -t clean; cmake --build --target clean; "
    "bazel clean; scons -c; make mrproper",
    "native remove": "make uninstall; ninja uninstall",
    "native format": "clang-format; indent; astyle; uncrustify",
    "native lint": "clang-tidy; cppcheck",
    "native debug": "gdb; lldb; cgdb; valgrind",
    # containers and clusters
    "container build image": "docker build; docker buildx build; podman build; nerdctl build; buildah bud; "
    "buildah build; docker image build; kaniko; docker buildx bake",
    "container push image": "docker push; podman push; docker image push; nerdctl push; buildah push; "
    "skopeo copy; crane push",
    "container pull image": "docker pull; podman pull; docker image pull; nerdctl pull; crane pull",
    "container tag image": "docker tag; podman tag; docker image tag; nerdctl tag; buildah tag; crane tag",
    "container list image": "docker images; podman images; docker image ls; nerdctl images; "
    "docker image list; buildah images",
    "container remove image": "docker rmi; docker image rm; podman rmi; docker image prune; nerdctl rmi; "
    "podman image rm; podman image prune",
    "container save image": "docker save; podman save; docker image save; docker export",
    "container load image": "docker load; podman load; docker image load; docker import",
    "container prune": "docker system prune; docker builder prune; docker container prune; "
    "podman system prune; docker volume prune",
    "container run": "docker run; podman run; nerdctl run; docker container run; docker create",
    "container start": "docker start; podman start; docker container start; nerdctl start",
    "container stop": "docker stop; docker kill; podman stop; podman kill; docker container stop; "
    "nerdctl stop",
    "container remove": "docker rm; podman rm; docker container rm; nerdctl rm",
    "container list": "docker ps; podman ps; docker container ls; nerdctl ps; docker container list",
    "container exec": "docker exec; podman exec; docker container exec; nerdctl exec; docker attach",
    "container logs": "docker logs; podman logs; docker container logs; nerdctl logs",
    "container usage": "docker stats; docker system df; podman stats; docker top; podman system df",
    "container create volume": "docker volume create; podman volume create",
    "container remove volume": "docker volume rm; podman volume rm",
    "container create network": "docker network create; podman network create",
    "container remove network": "docker network rm; podman network rm",
    "compose up": "docker-compose up; docker compose up; podman compose up; docker-compose up -d",
    "compose down": "docker-compose down; docker compose down; podman compose down; docker-compose rm; "
    "docker compose rm",
    "compose list": "docker-compose ps; docker compose ps; docker compose ls; docker compose top; "
    "podman compose ps",
    "cluster apply": "kubectl apply; oc apply; kubectl create -f; kubectl replace; oc create -f; "
    "kubectl apply -k; skaffold run",
    "cluster remove": "kubectl delete; oc delete; skaffold delete",
    "cluster context": "kubectl config use-context; kubectx; oc project; kubens; "
    "kubectl config set-context; oc config use-context; kubie ctx",
    "cluster status": "kubectl rollout status; oc rollout status; kubectl wait; argocd app wait",
    "cluster undo": "kubectl rollout undo; oc rollout undo",
    "cluster restart": "kubectl rollout restart; oc rollout restart; oc rollout latest",
    "cluster list history": "kubectl rollout history; oc rollout history",
    "cluster shell": "kubectl exec; oc exec; oc rsh; kubectl debug; kubectl attach",
    "cluster logs": "kubectl logs; oc logs; stern; kubetail; kail",
    "cluster forward": "kubectl port-forward; oc port-forward; kubefwd",
    "cluster cordon": "kubectl cordon; kubectl drain; oc adm cordon; oc adm drain; kubectl taint",
    "cluster uncordon": "kubectl uncordon; oc adm uncordon",
    "cluster usage": "kubectl top; oc adm top",
    "chart install": "helm install; helm upgrade --install; helm upgrade -i; helmfile apply; helmfile sync",
    "chart remove": "helm uninstall; helm delete; helmfile destroy",
    "chart refresh": "helm repo update; helm dependency update",
    "chart add repo": "helm repo add",
    "chart preview": "helm template; helm diff; helmfile diff; helm install --dry-run; "
    "helm upgrade --dry-run",
    "minicluster start": "minikube start; kind create cluster; k3d cluster create",
    "minicluster stop": "minikube stop; minikube delete; kind delete cluster; k3d cluster delete; "
    "k3d cluster stop",
    # infrastructure
    "infra plan": "terraform plan; tofu plan; pulumi preview; terragrunt plan; cdk diff; cdktf plan; "
    "cdk synth",
    "infra apply": "terraform apply; tofu apply; pulumi up; terragrunt apply; cdk deploy; cdktf deploy; "
    "terragrunt run-all apply",
    "infra remove": "terraform destroy; tofu destroy; pulumi destroy; terragrunt destroy; cdk destroy; "
    "terraform apply -destroy; tofu apply -destroy; cdktf destroy; pulumi down",
    "infra plan remove": "terraform plan -destroy; tofu plan -destroy",
    "infra workspace": "terraform workspace select; tofu workspace select; pulumi stack select",
    "infra init": "terraform init; tofu init; terragrunt init; pulumi new; cdk bootstrap; pulumi stack init",
    "bucket copy": "aws s3 cp; aws s3 sync; gsutil cp; gsutil rsync; gsutil -m rsync; rclone copy; "
    "rclone sync; s3cmd put; s3cmd sync; mc cp; mc mirror; azcopy copy; azcopy sync; gcloud storage cp; "
    "gcloud storage rsync; az storage blob upload; az storage blob upload-batch; s5cmd cp; s5cmd sync; "
    "aws s3 mv; gsutil mv",
    "bucket list": "aws s3 ls; gsutil ls; rclone ls; s3cmd ls; mc ls; gcloud storage ls; "
    "az storage blob list; rclone lsf; s5cmd ls; azcopy list",
    "bucket remove": "aws s3 rm; aws s3 rb; gsutil rm; gsutil rb; rclone delete; rclone purge; s3cmd del; "
    "s3cmd rb; mc rm; mc rb; gcloud storage rm; az storage blob delete; az storage container delete; "
    "s5cmd rm; azcopy remove",
    "bucket create": "aws s3 mb; gsutil mb; rclone mkdir; s3cmd mb; mc mb; gcloud storage buckets create; "
    "az storage container create",
    "cloud invalidate": "aws cloudfront create-invalidation; gcloud compute url-maps invalidate-cdn-cache; "
    "az cdn endpoint purge",
    "cloud whoami": "aws sts get-caller-identity; gcloud auth list; az account show; gcloud config list",
    "cloud login": "aws sso login; aws configure; gcloud auth login; az login; gcloud init",
    "machines up": "vagrant up; multipass launch; multipass start",
    "machines down": "vagrant halt; vagrant suspend; multipass stop",
    "machines remove": "vagrant destroy; multipass delete",
    "paas deploy": "git push heroku; fly deploy; flyctl deploy; vercel; vercel deploy; netlify deploy; railway up; "
    "wrangler deploy; wrangler publish; firebase deploy; gcloud app deploy; eb deploy; vercel --prod; "
    "cap deploy; gcloud run deploy; sls deploy",
    "paas logs": "heroku logs; fly logs; flyctl logs; vercel logs; railway logs; wrangler tail",
    # system packages and services
    "system refresh": "apt update; dnf makecache; dnf check-update; yum makecache; yum check-update; "
    "pacman -Sy; zypper refresh; zypper ref; apk update; brew update; port selfupdate; pkg update; "
    "emerge --sync; snap refresh --list",
    "system install": "apt install; dnf install; yum install; pacman -S; zypper install; zypper in; "
    "apk add; brew install; port install; emerge; snap install; flatpak install; pkg install; nix-env -i; "
    "choco install; winget install; scoop install; dpkg -i; rpm -i; dnf localinstall; brew bundle; "
    "apt reinstall; brew reinstall; dnf groupinstall; yay -S",
    "system remove": "apt remove; apt purge; apt autoremove; dnf remove; dnf erase; yum remove; pacman -R; "
    "zypper remove; zypper rm; apk del; brew uninstall; brew remove; port uninstall; emerge -C; "
    "snap remove; flatpak uninstall; pkg delete; pkg remove; nix-env -e; choco uninstall; winget uninstall; "
    "scoop uninstall; dpkg -r; dpkg -P; rpm -e; dnf autoremove; brew rm",
    "system upgrade": "apt upgrade; apt full-upgrade; apt dist-upgrade; dnf upgrade; dnf update; "
    "yum update; yum upgrade; pacman -Su; zypper update; zypper up; apk upgrade; brew upgrade; "
    "port upgrade; snap refresh; flatpak update; pkg upgrade; choco upgrade; winget upgrade; scoop update; "
    "unattended-upgrade; pacman -Syu; zypper dup",
    "system list": "apt list; dpkg -l; dpkg -L; rpm -q; dnf list; yum list; pacman -Q; brew list; apk info; "
    "snap list; zypper search; apt show; apt policy; dnf info; brew info; rpm -qa; apt search; dnf search; "
    "pacman -Ss; brew search; yum info; pacman -Si",
    "service start": "systemctl start; service start; service * start; rc-service start; "
    "rc-service * start; launchctl load; supervisorctl start; sv start; pm2 start; launchctl start; "
    "launchctl bootstrap; brew services start; initctl start; systemctl enable --now",
    "service stop": "systemctl stop; service stop; service * stop; rc-service stop; rc-service * stop; "
    "launchctl unload; systemctl kill; supervisorctl stop; sv stop; pm2 stop; launchctl stop; "
    "launchctl bootout; brew services stop; initctl stop; pm2 delete",
    "service restart": "systemctl restart; service restart; service * restart; rc-service restart; "
    "rc-service * restart; supervisorctl restart; sv restart; pm2 restart; brew services restart; "
    "launchctl kickstart; systemctl try-restart",
    "service reload": "systemctl reload; service reload; service * reload; rc-service * reload; pm2 reload; "
    "nginx -s; supervisorctl update; supervisorctl reread; apachectl graceful; systemctl reload-or-restart; "
    "caddy reload",
    "service status": "systemctl status; service status; service * status; rc-service status; "
    "rc-service * status; supervisorctl status; sv status; pm2 status; pm2 list; brew services list; "
    "launchctl list; systemctl is-active; brew services; systemctl list-units",
    "service enable": "systemctl enable; update-rc.d; update-rc.d defaults; update-rc.d * defaults; "
    "update-rc.d enable; update-rc.d * enable; rc-update add; chkconfig on; chkconfig * on; "
    "launchctl enable; pm2 startup; pm2 save; systemctl unmask",
    "service disable": "systemctl disable; update-rc.d remove; update-rc.d * remove; update-rc.d disable; "
    "update-rc.d * disable; rc-update del; chkconfig off; chkconfig * off; launchctl disable; "
    "pm2 unstartup; systemctl mask; systemctl disable --now",
    "service check": "nginx -t; apachectl configtest; apache2ctl configtest; httpd -t; haproxy -c; "
    "named-checkconf; sshd -t; caddy validate; visudo -c; systemd-analyze verify; promtool check",
    "service logs": "journalctl; dmesg; pm2 logs; supervisorctl tail",
    # databases
    "sql create database": "createdb; mysqladmin create; psql --create",
    "sql remove database": "dropdb; mysqladmin drop",
    "sql dump": "pg_dump; mysqldump; pg_dumpall; mongodump; sqlite3 .dump; sqlite3 .backup; pg_basebackup; "
    "mydumper; influxd backup; redis-cli --rdb; redis-cli BGSAVE; redis-cli bgsave; redis-cli SAVE",
    "sql load": "pg_restore; mongorestore; psql <; mysql <; psql -f; psql --file; mysqlimport; mongoimport; "
    "sqlite3 <; sqlite3 .read; sqlite3 .restore; sqlite3 .import; mysql source; pgloader; myloader; "
    "duckdb <; duckdb -f",
    "sql query": "psql; mysql; psql -c; mysql -e; sqlite3; duckdb; mongosh; mongo; sqlcmd; sqlplus; "
    "redis-cli; clickhouse-client; mongosh --eval; psql --command; duckdb -c; usql; cqlsh; pgcli; mycli; "
    "litecli; bq query; mysql --execute",
    "sql ready": "pg_isready; mysqladmin ping; redis-cli ping; redis-cli PING",
    # files
    "file list": "ls; eza; exa; lsd; tree; dir; stat; file; vdir",
    "file print": "cat; less; more; bat; most; pg; head; tail; zless; zmore",
    "file follow": "tail -f; tail -F; less +F; multitail; tail --follow",
    "file page": "man; info; tldr; help",
    "file copy": "cp; install; ditto; xcopy; copy",
    "file move": "mv; rename; move; git mv; hg mv; hg rename; svn mv; mmv",
    "file remove": "rm; unlink; shred; trash; trash-put; del; srm; gio trash",
    "file remove directory": "rmdir; rm -r; rm -R; rm --recursive",
    "file create directory": "mkdir; install -d; md",
    "file create": "touch; truncate; fallocate; mktemp",
    "file link": "ln; ln -s; stow",
    "file permit": "chmod; chown; chgrp; setfacl",
    "file search": "grep; rg; ag; ack; zgrep; git grep; ugrep; pt; rga",
    "file find": "find; fd; locate; mlocate; plocate; mdfind; which; whereis; type",
    "file find remove": "find -delete",
    "file substitute": "sed -i; perl -i; sd; gsed -i; perl -pi; perl -pe; sed --in-place",
    "file filter": "sed; awk; cut; tr; gawk; perl; sort; uniq; paste; column; choose; mawk; perl -ne",
    "file count": "wc; cloc; tokei; scc; nl",
    "file compare": "diff; cmp; colordiff; vimdiff; delta; comm; difft; sdiff; meld",
    "file checksum": "sha256sum; sha512sum; md5sum; sha1sum; shasum; md5; b2sum; cksum; openssl dgst; "
    "b3sum; openssl sha256",
    "file json": "jq; yq; fx; gron; python -m json.tool; dasel; jless",
    "file edit": "vim; nano; emacs; code; micro; helix; hx; subl; ed; gedit; kate; open; xdg-open",
    "table inspect": "csvstat; csvlook; xsv stats; mlr; csvcut; qsv stats; vd; xsv headers; xsv; qsv; "
    "csvsql; csvkit; mlr --icsv",
    "archive pack": "tar -c; zip; gzip; bzip2; xz; zstd; 7z a; 7za a; tar --create; pigz; rar a; lz4; ar; "
    "cpio -o; bsdtar -c; compress",
    "archive unpack": "tar -x; unzip; gunzip; bunzip2; unxz; zstd -d; 7z x; 7za x; tar --extract; unrar x; "
    "gzip -d; bzip2 -d; xz -d; unzstd; 7z e; bsdtar -x; unar; lz4 -d; cpio -i; unpigz; uncompress",
    "archive list": "tar -t; unzip -l; 7z l; zipinfo; tar --list; unzip -t; gzip -t; gzip -l; bsdtar -t; "
    "tar -d",
    "crypt encrypt": "gpg -e; gpg -c; gpg --encrypt; gpg --symmetric; age; age -r; openssl enc; age -e; "
    "sops -e; sops encrypt; age -p; ansible-vault encrypt; age --encrypt",
    "crypt decrypt": "gpg -d; gpg --decrypt; age -d; openssl enc -d; sops -d; sops decrypt; age --decrypt; "
    "ansible-vault decrypt; gpg",
    "crypt sign": "gpg --sign; gpg -s; gpg --detach-sign; minisign -S; cosign sign; gpg --clearsign; "
    "signify -S; gpg -b",
    "crypt verify": "gpg --verify; minisign -V; cosign verify; sha256sum -c; openssl verify; signify -V; "
    "sha512sum -c; md5sum -c; shasum -c",
    "crypt keys": "ssh-keygen; gpg --gen-key; gpg --full-generate-key; age-keygen; openssl genrsa; "
    "openssl genpkey; wg genkey",
    "crypt certificate": "openssl req; openssl x509; certbot; certbot certonly; acme.sh; mkcert; step ca; "
    "cfssl; lego",
    "crypt authorise": "ssh-copy-id; ssh-add",
    # network
    "net download": "wget; curl -O; curl -o; curl -LO; curl --output; aria2c; axel; curl -L; "
    "curl --remote-name; wget -O; yt-dlp; wget -c; http --download; xh --download; wget2; curl -fsSLO",
    "net upload": "curl -T; curl --upload-file; curl -F; wget --post-file; ftp-upload; wput; curl --form",
    "net request": "curl; http; xh; https; curl -X; httpie; curlie; curl -s; curl -d; wget -q -O -; "
    "wget -qO-; hurl; wget --post-data; wget -S",
    "net probe": "curl -I; wget --spider; curl --head; http HEAD; curl -sI",
    "net copy": "scp; rsync; sftp; rclone copyto; croc; lftp; unison; pscp; sshpass",
    "net shell": "ssh; mosh; telnet; et",
    "net sockets": "ss; netstat; lsof -i; fuser; lsof -iTCP; lsof; nmap -p",
    "net resolve": "dig; nslookup; host; drill; getent hosts; resolvectl query; dog; doggo; kdig; resolvectl",
    "net ping": "ping; fping; ping6; gping; arping",
    "net trace": "traceroute; tracepath; mtr; tracert",
    "net scan": "nmap; masscan; rustscan; zmap; nc -z; nc -zv; naabu; nc",
    "net interfaces": "ip; ifconfig; ip addr; ip a; ip address; ip link; nmcli device; nmcli; iwconfig",
    "net routes": "ip route; route; netstat -r; ip r; netstat -rn",
    "net capture": "tcpdump; tshark; wireshark; dumpcap; ngrep",
    "net load": "ab; wrk; hey; siege; k6 run; vegeta; bombardier; oha; locust; jmeter; artillery run",
    # machine
    "process list": "ps; pgrep; top; htop; btop; pidof; glances; pstree; procs; atop; btm",
    "process stop": "kill; pkill; killall; fuser -k; kill -9; xkill; skill",
    "process trace": "strace; ltrace; dtruss; perf trace; bpftrace; sysdig; dtrace",
    "process profile": "perf; py-spy; cProfile; perf record; perf stat; flamegraph; python -m cProfile; "
    "pprof; go tool pprof; scalene; austin; py-spy record; perf report; hyperfine; py-spy top",
    "disk usage": "df; du; ncdu; dust; duf; duc; gdu; pydf",
    "disk devices": "lsblk; fdisk -l; blkid; parted -l; parted --list; diskutil list; lsusb; lspci; "
    "sfdisk -l; lshw; findmnt; hdparm -I",
    "disk partition": "fdisk; parted; gdisk; sgdisk; cfdisk; sfdisk; diskutil partitionDisk; "
    "parted mklabel; parted mkpart",
    "disk format": "mkfs; mkswap; mke2fs; diskutil eraseDisk; mkfs.*; mkntfs; newfs",
    "disk wipe": "wipefs; dd; blkdiscard; shred /dev",
    "disk check": "fsck; e2fsck; xfs_repair; smartctl; badblocks; btrfs check; fsck.*; xfs_check; "
    "btrfs scrub",
    "disk grow": "resize2fs; lvextend; growpart; xfs_growfs; lvresize; vgextend; btrfs filesystem resize; "
    "pvresize",
    "disk mount": "mount; udisksctl mount; diskutil mount; sshfs; mount -a; pmount; mount.*",
    "disk unmount": "umount; udisksctl unmount; diskutil unmount; fusermount -u; diskutil eject; pumount; "
    "eject",
    "swap on": "swapon",
    "swap off": "swapoff",
    "memory usage": "free; vmstat; iostat; sar; mpstat; uptime; dstat; iotop; smem; numastat",
    "kernel load": "modprobe; insmod; kmod load",
    "kernel unload": "rmmod; modprobe -r",
    "kernel list": "lsmod; modinfo; sysctl; sysctl -a",
    "cron edit": "crontab -e; crontab; crontab <FILE>; systemctl edit",
    "cron list": "crontab -l; atq; systemctl list-timers",
    "cron remove": "crontab -r; atrm",
    "users add": "useradd; adduser; groupadd; addgroup; dscl create; newusers",
    "users remove": "userdel; deluser; groupdel; delgroup",
    "users change": "usermod; gpasswd; chsh; chfn; usermod -a; gpasswd -a; adduser * *",
    "users password": "passwd; chpasswd; chage; passwd -e",
    "users lock": "passwd -l; usermod -L; usermod --lock; passwd --lock",
    "users unlock": "passwd -u; usermod -U; usermod --unlock; passwd --unlock",
    "users show": "id; whoami; groups; who; w; getent passwd; last; finger; getent group; lslogins",
    "firewall allow": "ufw allow; firewall-cmd --add-port; firewall-cmd --add-service; iptables -A; "
    "nft add rule; iptables -I; iptables --append",
    "firewall deny": "ufw deny; ufw delete; firewall-cmd --remove-port; firewall-cmd --remove-service; "
    "iptables -D; nft delete rule; ufw reject",
    "firewall enable": "ufw enable; ufw --force enable; netfilter-persistent save",
    "firewall status": "ufw status; firewall-cmd --list-all; iptables -L; nft list; firewall-cmd --state; "
    "iptables -S; nft list ruleset",
    "firewall reload": "ufw reload; firewall-cmd --reload; iptables-restore; nft -f",
    "machine reboot": "reboot; shutdown -r; systemctl reboot; init 6",
    "machine off": "shutdown; poweroff; halt; systemctl poweroff; init 0",
    "machine about": "uname; hostnamectl; lsb_release; neofetch; sw_vers; lscpu; cat /etc/os-release; arch; "
    "nproc; date; hostname",
    # documents, media, pages
    "pages build": "hugo; jekyll build; mkdocs build; sphinx-build; eleventy; hugo build; zola build; "
    "gatsby build; pelican; mdbook build; bundle exec jekyll build; docusaurus build; astro build",
    "pages serve": "hugo server; hugo serve; jekyll serve; mkdocs serve; zola serve; mdbook serve; "
    "python -m http.server; php -S; npx serve; http-server; serve; bundle exec jekyll serve; "
    "gatsby develop; docusaurus start",
    "document convert": "pandoc; soffice; wkhtmltopdf; libreoffice; unoconv; weasyprint; typst compile; "
    "asciidoctor; latexmk; pdflatex; xelatex; lualatex; tectonic",
    "media convert": "ffmpeg; avconv; handbrakecli; HandBrakeCLI; sox",
    "media inspect": "ffprobe; mediainfo; identify; exiftool",
    "image convert": "convert; magick; mogrify; gm; sips; cwebp; optipng; vips",
    # the shell itself
    "shell go": "cd; pushd; popd; z; zoxide; j",
    "shell print": "echo; printf; pwd",
    "shell set": "export; set; unset; alias; declare",
    "shell load": "source; .",
    "shell wait": "sleep; wait; watch",
    "shell clear": "clear; reset; cls; tput clear",
    "shell leave": "exit; logout; quit",
    "shell history": "history; fc; atuin",
    "mux attach": "tmux attach; tmux a; screen -r; zellij attach; tmux attach-session; screen -x",
    "mux new": "tmux new; tmux new-session; tmux; screen; screen -S; zellij; zellij -s",
    "mux list": "tmux ls; screen -ls; zellij ls; tmux list-sessions; zellij list-sessions",
    "mux remove": "tmux kill-session; tmux kill-server; zellij kill-session; screen -X",
}  # fmt: skip
"""``"family verb object"`` -> commands that do this job, separated by ``;``. The longest match wins."""

VERBS: Final[dict[str, str]] = {
    "remove": "rm remove delete del uninstall purge erase destroy drop autoremove unlink prune teardown rmi",
    "create": "create new mk make mkdir generate gen provision",
    "add": "add insert append attach",
    "install": "install i require ensure",
    "list": "ls list get ps images tags branches lists dir",
    "show": "show describe inspect info view display cat head details",
    "status": "status st stat health is-active",
    "diff": "diff compare",
    "start": "start boot launch resume unpause",
    "stop": "stop halt kill shutdown terminate suspend pause abort",
    "up": "up",
    "down": "down",
    "restart": "restart reboot bounce reload-or-restart",
    "upgrade": "upgrade update up-to-date bump self-update",
    "refresh": "refresh makecache check-update",
    "push": "push upload send put",
    "pull": "pull download receive",
    "publish": "publish release upload-dist ship",
    "deploy": "deploy rollout ship-it promote",
    "rollback": "rollback downgrade undo revert backout",
    "migrate": "migrate migration db:migrate",
    "build": "build compile package assemble bundle dist make-dist b",
    "test": "test t tests check-tests unit e2e spec test:unit test:e2e",
    "lint": "lint vet clippy check-style lint:fix",
    "format": "fmt format prettier",
    "typecheck": "typecheck type-check tsc types check-types",
    "check": "check validate verify doctor audit",
    "run": "run exec x execute invoke",
    "dev": "dev serve server develop watch preview",
    "commit": "commit ci checkin check-in",
    "clean": "clean clear distclean gc cleanup",
    "login": "login log-in signin auth",
    "logout": "logout log-out signout",
    "enable": "enable on activate",
    "disable": "disable off deactivate",
    "mount": "mount",
    "unmount": "umount unmount eject",
    "search": "search find grep query",
    "logs": "logs log journal",
    "export": "export dump backup save snapshot",
    "import": "import restore load",
    "encrypt": "encrypt seal",
    "decrypt": "decrypt unseal",
    "lock": "lock freeze",
    "unlock": "unlock",
    "copy": "cp copy sync rsync mirror",
    "move": "mv move rename",
    "clone": "clone checkout-repo fork",
    "init": "init initialise initialize setup bootstrap",
    "config": "config configure set",
    "version": "version -v -V --version -version",
    "help": "help --help -h",
}  # fmt: skip
"""Verb -> the words that sub-commands, and the scripts of task runners, use for it."""

OPPOSITES: Final[tuple[tuple[str, str], ...]] = (
    ("up", "down stop remove"),
    ("start restart run", "stop down remove"),
    ("apply deploy", "remove rollback undo"),
    ("install add create new env upgrade init", "remove down"),
    ("enable activate on", "disable deactivate off"),
    ("mount", "unmount"),
    ("format partition", "wipe"),
    ("push", "reset pull remove"),
    ("commit amend", "undo reset discard unstage rollback"),
    ("add", "unstage discard reset"),
    ("stash", "unstash"),
    ("branch merge", "remove discard undo reset abort"),
    ("rebase continue pick", "abort undo reset"),
    ("tag", "remove"),
    ("login", "logout"),
    ("migrate", "rollback"),
    ("upgrade", "rollback"),
    ("dump export", "load import"),
    ("save", "load"),
    ("pack", "unpack"),
    ("upload", "download"),
    ("encrypt", "decrypt"),
    ("lock", "unlock"),
    ("allow", "deny"),
    ("cordon", "uncordon"),
    ("load", "unload"),
    ("build", "clean remove"),
    ("publish", "remove"),
    ("link", "remove"),
)
"""Verbs on the left have the opposite effect of verbs on the right."""

LOOKING: Final = _words(
    "list show status diff log logs blame print follow search find count compare inspect checksum usage "
    "devices version help page resolve ping trace probe outdated about interfaces routes sockets whoami "
    "ready history filter json preview"
)
"""Verbs that only look: they say less about a workflow than the steps that change something."""

_LIGHT: Final = _words(
    "cd pushd popd echo printf pwd set export unset true false sleep clear source . date test [ read local shopt"
)
"""Programs that only prepare the real work of a line."""

_FILTERS: Final = _words(
    "head tail grep egrep rg wc sort uniq cut awk sed tr tee less more cat column jq paste nl fmt fold rev"
)
"""Programs that only shape what another one prints, when a pipe feeds them."""

_WRAPPERS: Final = _words(
    "sudo doas time env nohup nice ionice exec command builtin stdbuf timeout setsid xvfb-run caffeinate "
    "unbuffer watch npx bunx uvx xargs winpty strace-run rtk then do else if while until ! { chronic eval"
)
"""Programs and words that run another program."""

_RUNNERS: Final = tuple(
    tuple(runner.split())
    for runner in _items(
        "uv run;poetry run;pipenv run;pdm run;rye run;hatch run;conda run;bundle exec;pnpm exec;pnpm dlx;yarn dlx;"
        "yarn exec;npm exec;bun x;uv tool run;dotenv run;direnv exec;pipx run"
    )
)
"""Sub-commands that run another program."""

_SCRIPTED: Final = frozenset(("npm", "yarn", "pnpm", "bun", "deno"))
"""Tools whose ``run NAME`` runs the script NAME, which the verb then names."""

_FORCING: Final = _words(
    "--force --hard --force-with-lease --force-delete -D --no-preserve-root --delete-branch --prune-all --overwrite"
)
_FORCING_F: Final = frozenset(
    _items("git push;git clean;git checkout;git branch;git add;git reset;git tag;rm;docker rm;docker rmi")
)
"""Commands in which ``-f`` is short for ``--force``."""

# Every alternative takes at least one character and none can fail late: linear in any input.
_TOKEN: Final = re.compile(
    r"<[A-Z][A-Z0-9_]*>|\"[^\"]*\"?|'[^']*'?|&&|\|\|?|[;&()\n]|\d*[<>]+&?\d*|"
    r"(?:[^\s\"'|;&()<>]|<[A-Z][A-Z0-9_]*>)+|\S"
)
_WORD: Final = re.compile(r"[A-Za-z][\w:.+-]*\Z")
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*=")
_VERSIONED: Final = re.compile(r"(python|pip|pypy|ruby|php|gcc|g\+\+|clang|java|node)-?\d[\d.]*\Z")

_SEPARATORS: Final = frozenset(("&&", "||", "|", ";", "&", "\n", "(", ")"))
_REDIRECTS: Final = frozenset((">", ">>", "<", "<<", "<<<", "2>", "&>", "2>&1", "&>>", ">&", "2>&"))
_WRAPPER_VALUES: Final = frozenset(("-u", "-g", "-s", "-k"))
_NOUNS: Final = _words(
    "kubectl oc docker podman nerdctl gh glab aws gcloud az doctl terraform tofu pulumi heroku fly flyctl "
    "helm argocd conda openstack linode-cli oci vault consul nomad istioctl minikube kind k3d firebase "
    "wrangler gsutil systemctl"
)
"""Programs whose sub-commands name an object beside the verb (``gh pr create``, ``kubectl get pods``)."""

_NOUN_OF: Final = {
    "po": "pod", "svc": "service", "deploy": "deployment", "ns": "namespace", "cm": "configmap", "no": "node",
    "ing": "ingress", "ingresses": "ingress", "sts": "statefulset", "ds": "daemonset", "cj": "cronjob", "ev": "event",
    "dc": "deployment", "project": "namespace", "auth": "", "account": "",
}  # fmt: skip
"""Short names and synonyms of what commands act upon."""

_MAX_CHARS: Final = 4096  # what a command does stands at its beginning
_MAX_TOKENS: Final = 96
_MAX_ACTS: Final = 4


class Act(NamedTuple):
    """One program run by a template.

    Attributes
    ----------
    program : str
        Its name, without folder, version or wrappers such as ``sudo``.
    family, verb, object : str
        What it does. The family is the program's own name when no table knows it; verb and object may be
        empty.
    known : bool
        Whether a table names the family.
    details : tuple of str
        Flags, placeholders and further words: what sets it apart from other runs of the same job.
    forced : bool
        Whether it overrides a safety check (``--force``, ``--hard``, …).
    weight : float
        What it counts within its line, 0..1.
    """

    program: str
    family: str
    verb: str
    object: str
    known: bool
    details: tuple[str, ...]
    forced: bool
    weight: float


@lru_cache(maxsize=16_384)
def fold(template: str) -> tuple[str, ...]:
    """Return what a template does as short keys, tool families folded.

    ``fold("npm install <PKG>") == fold("yarn add <PKG>") == ("js install",)``. Steps that only prepare (``cd``)
    or filter (``| head``) count when there is nothing else. Never empty.
    """
    acts = read(template)
    heavy = [act for act in acts if act.weight >= 0.5] or acts
    return tuple(dict.fromkeys(f"{act.family} {act.verb}".rstrip() for act in heavy))


def read(template: str) -> tuple[Act, ...]:
    """Return the acts of a template: one for each program in it, four at most, at least one."""
    acts = [_act(parts, fed) for tokens, fed in _segments(template) if (parts := _parts(tokens)) is not None]
    if len(acts) > _MAX_ACTS:
        kept = sorted(range(len(acts)), key=lambda i: (-acts[i].weight, i))[:_MAX_ACTS]
        acts = [acts[i] for i in sorted(kept)]
    return tuple(acts) or (Act("", "", template.strip()[:64], "", False, (), False, 1.0),)


class _Parts(NamedTuple):
    """A simple command, taken apart."""

    program: str
    words: tuple[str, ...]
    flags: tuple[str, ...]
    rest: tuple[str, ...]


class _Rule(NamedTuple):
    words: tuple[str, ...]
    flags: tuple[str, ...]
    rest: tuple[str, ...]
    job: tuple[str, str, str]


def _segments(text: str) -> Iterator[tuple[list[str], bool]]:
    """Yield (tokens, whether a pipe feeds it) of each simple command."""
    tokens: list[str] = []
    fed = False
    for count, match in enumerate(_TOKEN.finditer(text[:_MAX_CHARS])):
        if count >= _MAX_TOKENS:
            break
        token = match.group()
        if token in _SEPARATORS:
            if tokens:
                yield tokens, fed
            tokens, fed = [], token == "|"
        else:
            tokens.append(token)
    if tokens:
        yield tokens, fed


def _parts(tokens: list[str]) -> _Parts | None:
    """Return program, words, flags and the rest of a simple command; None when there is no program."""
    at = 0
    while at < len(tokens):
        token = tokens[at]
        if _ASSIGNMENT.match(token):
            at += 1
        elif token in _WRAPPERS and at + 1 < len(tokens):
            at += 1
            while at < len(tokens) - 1 and (tokens[at][0] in "-<0123456789"):
                at += 2 if tokens[at] in _WRAPPER_VALUES else 1
        elif token.startswith("-"):  # what a wrapper left behind
            at += 1
        else:
            length = next((len(r) for r in _RUNNERS if tuple(tokens[at : at + len(r)]) == r), 0)
            if length and at + length < len(tokens):
                at += length
                continue
            name = _name(token)
            if name == "python" and "-m" in tokens[at + 1 : at + 4]:
                module = tokens.index("-m", at + 1) + 1
                if module < len(tokens) and _WORD.match(tokens[module]):
                    at = module
                    name = _name(tokens[at])
            break
    else:
        return None
    if name == "docker" and tokens[at + 1 : at + 2] == ["compose"]:
        name, at = "docker-compose", at + 1
    words: list[str] = []
    flags: list[str] = []
    rest: list[str] = []
    for token in tokens[at + 1 :]:
        if token[0] == "-" or token in _REDIRECTS:
            flags.append(token.partition("=")[0])
        elif _WORD.match(token) or token == "*":
            words.append(token)
        else:
            rest.append(token)
    if name == "tar" and words and "-" not in words[0] and not flags:  # tar xzf
        flags.append(f"-{words.pop(0)}")
    return _Parts(name, tuple(words), tuple(flags), tuple(rest))


def _name(token: str) -> str:
    """Return a program's name: no folder, no version, no alias."""
    name = token.rstrip("/").rpartition("/")[2] or token
    if name.endswith((".exe", ".cmd", ".bat")):
        name = name[:-4]
    if match := _VERSIONED.match(name):
        name = match[1]
    return _NAME_OF.get(name, name)


def _has(flag: str, flags: tuple[str, ...]) -> bool:
    """Whether `flag` is set: as it stands, or as letters of a cluster (``-x`` in ``-xzf``)."""
    if flag in flags:
        return True
    if len(flag) > 4 or flag[0] != "-" or flag[1:2] in ("-", "") or not flag[1:].isalpha():
        return False
    return any(f[0] == "-" and 1 < len(f) <= 7 and f[1:].isalpha() and set(f) >= set(flag) for f in flags)


def _rules() -> dict[str, list[_Rule]]:
    table: dict[str, list[_Rule]] = {}
    for job, commands in JOBS.items():
        family, verb, *thing = job.split(" ", 2)
        for command in _items(commands):
            parts = _parts(command.split())
            assert parts is not None, command
            rule = _Rule(parts.words, parts.flags, parts.rest, (family, verb, thing[0] if thing else ""))
            table.setdefault(parts.program, []).append(rule)
    for rules in table.values():
        rules.sort(key=lambda r: (-len(r.words), -len(r.flags) - len(r.rest), -sum(map(len, r.flags))))
    return table


_NAME_OF: Final = {name: program for program, names in ALIASES.items() for name in names.split()}
_FAMILY_OF: Final = {program: family for family, programs in FAMILIES.items() for program in programs.split()}
_VERB_OF: Final = {word: verb for verb, words in VERBS.items() for word in words.split()}
_RULES: Final = _rules()


def _job(parts: _Parts) -> tuple[tuple[str, str, str], int] | None:
    """Return the job of a command by `JOBS` and how many words name it."""
    rules = _RULES.get(parts.program)
    if rules is None and "." in parts.program:
        rules = _RULES.get(f"{parts.program.partition('.')[0]}.*")
    for rule in rules or ():
        n = len(rule.words)
        if (
            n <= len(parts.words)
            and all(w in ("*", have) for w, have in zip(rule.words, parts.words, strict=False))
            and all(_has(flag, parts.flags) for flag in rule.flags)
            and all(item in parts.rest for item in rule.rest)
        ):
            return rule.job, n
    return None


def _verb(parts: _Parts, at: int) -> tuple[str, str, int]:
    """Return (verb, object, words used) of a command that `JOBS` does not know; `at` words are skipped."""
    words = parts.words[at : at + 3]
    if not words:
        flag = next((f for f in parts.flags if f in _VERB_OF), None)
        return (_VERB_OF[flag] if flag else ""), "", at
    first, _, more = words[0].replace(":", "-").partition("-")
    if words[0] in _VERB_OF:
        thing = _noun(words[1]) if len(words) > 1 and parts.program in _NOUNS else ""
        return _VERB_OF[words[0]], thing, at + (2 if thing else 1)
    for place, word in enumerate(words[1:], 1):  # gh pr create, az vm list, aws ec2 describe-instances
        verb, _, noun = word.partition("-")
        if parts.program in _NOUNS and (word in _VERB_OF or (noun and verb in _VERB_OF)):
            thing = _noun(words[place - 1] if word in _VERB_OF else noun)
            return _VERB_OF.get(word) or _VERB_OF[verb], thing, at + place + 1
    if more and first in _VERB_OF:  # test:unit, build-docs
        return _VERB_OF[first], more, at + 1
    return words[0], "", at + 1


def _noun(word: str) -> str:
    """Return what is acted upon, in the singular and spelt out."""
    word = word.rpartition("/")[0] or word
    return _NOUN_OF.get(word, word.removesuffix("s"))


def _act(parts: _Parts, fed: bool) -> Act:
    found = _job(parts)
    family = _FAMILY_OF.get(parts.program, parts.program)
    if found is not None and (found[1] or not parts.words or not _takes_subcommands(parts.program)):
        (family, verb, thing), used = found
    else:
        if found is not None:
            family = found[0][0]
        skip = 1 if parts.program in _SCRIPTED and parts.words[:1] == ("run",) and len(parts.words) > 1 else 0
        verb, thing, used = _verb(parts, skip)
    command = f"{parts.program} {parts.words[0]}" if parts.words else parts.program
    forced = bool(_FORCING.intersection(parts.flags)) or (
        _has("-f", parts.flags) and (parts.program in _FORCING_F or command in _FORCING_F)
    )
    weight = 0.15 if parts.program in _LIGHT else 0.2 if fed and parts.program in _FILTERS else 1.0
    details = (*parts.flags, *parts.rest, *parts.words[used:])
    known = found is not None or parts.program in _FAMILY_OF
    return Act(parts.program, family, verb, thing, known, details, forced, weight)


@lru_cache(maxsize=1024)
def _takes_subcommands(program: str) -> bool:
    """Whether words after `program` are sub-commands rather than arguments."""
    return program in _FAMILY_OF or any(rule.words for rule in _RULES.get(program, ()))
