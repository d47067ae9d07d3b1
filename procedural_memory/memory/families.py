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

from procedural_memory.commands.tables import GROUPS

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
    "kafka-configs": "kafka-configs.sh",
    "kafka-console-consumer": "kafka-console-consumer.sh",
    "kafka-console-producer": "kafka-console-producer.sh",
    "kafka-consumer-groups": "kafka-consumer-groups.sh",
    "kafka-topics": "kafka-topics.sh",
    "kubectl": "k microk8s.kubectl",
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
    "redis-cli": "valkey-cli keydb-cli",
    "rg": "ripgrep",
    "vim": "vi nvim",
}
"""Program -> other names of the very same program."""

FAMILIES: Final[dict[str, str]] = {
    "vcs": "git hg svn jj bzr fossil darcs sl",
    "forge": "gh glab hub tea",
    "js": "npm yarn pnpm bun deno npx",
    "python": "pip uv poetry pipenv pdm rye hatch conda pixi flit",
    "ruby": "gem bundle rake",
    "php": "composer",
    "rust": "cargo rustup",
    "go": "go",
    "jvm": "mill mvn gradle ant sbt lein",
    "dotnet": "dotnet nuget msbuild",
    "native": "make cmake meson ninja bazel buck scons waf xmake autoreconf",
    "tasks": "just task invoke nox tox",
    "container": "docker podman nerdctl buildah",
    "compose": "docker-compose",
    "cluster": "kubectl oc k9s k3s kustomize skaffold tilt",
    "chart": "helm helmfile",
    "minicluster": "minikube kind k3d",
    "infra": "terraform tofu terragrunt pulumi cdk cdktf",
    "machines": "salt-call ansible-playbook ansible chef puppet salt vagrant packer multipass",
    "cloud": "aws gcloud az hcloud openstack doctl linode-cli oci",
    "bucket": "gsutil s3cmd mc rclone azcopy s5cmd",
    "paas": "heroku fly flyctl vercel netlify railway render wrangler firebase",
    "system": "apt dnf yum zypper pacman apk brew port emerge snap flatpak pkg nix-env choco winget scoop dpkg "
    "rpm yay",
    "service": "systemctl service rc-service rc-update update-rc.d launchctl supervisorctl sv pm2 initctl "
    "chkconfig",
    "sql": "psql mysql sqlite3 duckdb clickhouse-client sqlcmd sqlplus cockroach usql pgcli mycli litecli",
    "db": "alembic flyway liquibase dbmate goose sqlx prisma knex sequelize",
    "editor": "vim nano emacs code micro helix hx subl ed gedit kate",
    "users": "useradd adduser usermod userdel deluser groupadd addgroup passwd chage groupdel",
    "firewall": "ufw firewall-cmd iptables nft",
    "beam": "mix rebar3",
    "haskell": "stack cabal",
    "swift": "swift xcodebuild",
    "flutter": "flutter dart",
    "toolchain": "pyenv nvm rbenv fnm asdf mise volta goenv sdk jenv n",
    "backup": "restic borg kopia duplicity bup tarsnap rdiff-backup rsnapshot",
    "queue": "rabbitmqctl rabbitmqadmin rpk nats kcat",
    "batch": "sbatch qsub bsub",
    "secrets": "vault pass op bw gopass",
    "pods": "pod carthage",
    "dotfiles": "stow chezmoi yadm rcup",
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
    "vcs list branch": "git branch; hg branches; hg bookmarks",
    "vcs checkout": "git switch; hg update; hg up; svn switch; jj edit; sl goto",
    "vcs discard": "git restore; git checkout --; git clean; hg revert; svn revert; jj restore",
    "vcs unstage": "git restore --staged; git reset; git rm --cached; hg forget; git reset HEAD",
    "vcs undo": "git reset --soft; git reset --mixed; hg uncommit; git revert; hg backout; jj undo",
    "vcs reset": "git reset --hard; hg update --clean; hg update -C; hg strip; git reset --merge",
    "vcs fetch": "git remote update; hg incoming; jj git fetch; svn status -u",
    "vcs pull": "svn update; svn up; hg fetch",
    "vcs rebase": "git pull --rebase; git pull -r",
    "vcs abort": "git rebase --abort; git merge --abort; git cherry-pick --abort; hg rebase --abort; git am --abort",
    "vcs continue": "git rebase --continue; git merge --continue; git cherry-pick --continue; hg rebase --continue",
    "vcs pick": "git cherry-pick; hg graft; git am; git apply; hg import; svn patch; jj duplicate",
    "vcs patch": "git format-patch; hg export; git diff --output",
    "vcs clone": "svn checkout; svn co; jj git clone; gh repo clone",
    "vcs commit": "jj describe",
    "vcs amend": "git commit --amend; hg commit --amend; jj squash",
    "vcs stash": "git stash push; git stash save; hg shelve",
    "vcs unstash": "git stash pop; git stash apply; hg unshelve",
    "vcs list stash": "git stash show; hg shelve --list",
    "vcs remove stash": "git stash clear; hg shelve --delete",
    "vcs log": "git log; hg log; svn log; jj log; git reflog; git shortlog; hg history; tig",
    "vcs blame": "hg annotate; git annotate",
    "vcs list tag": "git tag -l; git tag --list; git describe; hg tags",
    "vcs remove tag": "git tag -d; git tag --delete; hg tag --remove",
    "vcs push tags": "git push origin --tags; git push --tags; git push --follow-tags",
    "vcs bisect": "git bisect start",
    "vcs bisect good": "git bisect good; git bisect old; hg bisect --good; hg bisect -g",
    "vcs bisect bad": "git bisect bad; git bisect new; hg bisect --bad; hg bisect -b",
    "vcs bisect run": "git bisect run; hg bisect --command; hg bisect -c",
    "vcs bisect reset": "git bisect reset; hg bisect --reset; hg bisect -r",
    "vcs add submodule": "git subtree add; git submodule init",
    "vcs pull submodule": "git submodule update; git subtree pull; git submodule sync",
    "vcs remove submodule": "git submodule deinit",
    "vcs add remote": "git remote add; git remote set-url; hg paths --add; jj git remote add",
    "vcs remove remote": "git remote remove; git remote rm; hg paths --delete; jj git remote remove",
    "vcs list remote": "git remote; git remote show; hg paths; svn info",
    "vcs add worktree": "hg share; jj workspace add",
    "vcs remove worktree": "jj workspace forget",
    "vcs remove file": "git rm; hg remove; hg rm; svn delete; svn rm; svn remove",
    "vcs init": "svnadmin create; jj git init",
    "vcs config": "git config set",
    "vcs unset config": "git config --unset; git config unset; git config --unset-all",
    "vcs archive": "git bundle; hg bundle; svn export",
    "vcs resolve conflicts": "git mergetool; hg resolve; svn resolve; jj resolve; git rerere",
    "vcs clean": "git prune; git repack; git maintenance; hg debugupdatecaches",
    "data pull": "dvc pull; git lfs pull; dvc fetch; git annex get; git lfs fetch",
    "data push": "dvc push; git lfs push; git annex copy",
    "data add": "dvc add; git annex add",
    "data repro": "dvc repro; dvc exp run; snakemake; nextflow run",
    "vcs track": "git lfs track; git lfs install",
    # code hosting
    "forge create pr": "hub pull-request; tea pr create; az repos pr create",
    "forge merge pr": "gh pr merge; glab mr merge; tea pr merge; glab mr accept",
    "forge close pr": "tea pr close",
    "forge reopen pr": "tea pr reopen",
    "forge review pr": "gh pr review; glab mr approve; gh pr ready; glab mr note; gh pr comment",
    "forge checkout pr": "gh pr checkout; glab mr checkout; hub pr checkout; tea pr checkout",
    "forge list pr": "hub pr list; gh pr status; tea pr list",
    "forge show pr": "gh pr diff; glab mr diff; hub pr show",
    "forge status ci": "gh pr checks; gh run watch; gh run list; gh run view; glab ci view; glab ci list; "
    "glab pipeline ci; hub ci-status",
    "forge run ci": "gh workflow run; gh run rerun; glab ci retry; glab pipeline run; circleci trigger",
    "forge stop ci": "gh run cancel",
    "forge create repo": "hub create; gh repo fork; glab repo fork",
    "forge remove repo": "hub delete; gh repo archive",
    "forge close issue": "tea issues close",
    "forge release": "gh release create; glab release create; hub release create; gh release upload; "
    "tea release create",
    "forge remove release": "glab release delete; hub release delete",
    # packages
    "js install": "npm ci; npm add; yarn; yarn add; pnpm add; bun add; npm clean-install; deno add",
    "js remove": "npm un",
    "js retract": "npm unpublish; npm deprecate",
    "js version": "lerna version; changeset version; standard-version",
    "js audit": "npm audit; yarn audit; pnpm audit; yarn npm audit; bun audit",
    "js list": "yarn why; npm why; npm explain; pnpm why; bun pm ls",
    "js clean": "npm prune; npm cache clean; yarn cache clean; pnpm store prune; pnpm prune",
    "toolchain install": "uv python install; rustup toolchain install; rustup install; rustup update",
    "toolchain remove": "uv python uninstall; rustup toolchain uninstall",
    "toolchain use": "pyenv local; pyenv global; pyenv shell; nvm alias; rbenv local; rbenv global; fnm default; "
    "asdf local; asdf global; asdf set; volta pin; sdk default; uv python pin; rustup default; rustup override",
    "toolchain list": "pyenv versions; rbenv versions; uv python list; rustup show; rustup toolchain list; "
    "asdf current",
    "js publish": "npm stage; yarn npm publish; lerna publish; changeset publish",
    "js outdated": "ncu",
    "js upgrade": "yarn upgrade-interactive; ncu --upgrade; yarn up; pnpm up; ncu -u",
    "js test": "jest; vitest; mocha; ava; node --test; karma start; cypress run; playwright test",
    "js lint": "eslint; oxlint; standard; biome lint; stylelint",
    "js format": "prettier; biome format; dprint fmt; eslint --fix",
    "js typecheck": "tsc --noemit; tsc --noEmit; vue-tsc; flow",
    "js build": "tsc; webpack; rollup; esbuild; parcel build; next build; turbo build; swc; ng build",
    "js dev": "npm start; npm run start; yarn start; pnpm start; vite; next dev; nodemon; webpack serve; ng serve; "
    "vite serve; astro dev",
    "js init": "npm create; yarn create; pnpm create; bun create; npx create-react-app; create-vite",
    "python install": "uv pip install; uv add; uv sync; uv pip sync; poetry add; pipenv sync; pdm add; conda install; "
    "easy_install; rye add; python setup.py install; python setup.py develop; rye sync; uv tool install; pip-sync; "
    "conda env update",
    "python remove": "uv pip uninstall; conda remove; conda uninstall; uv tool uninstall",
    "python upgrade": "pip install --upgrade; pip install -U; uv lock --upgrade; uv pip install --upgrade; "
    "uv pip install -U; conda update; uv sync --upgrade; uv add --upgrade; conda upgrade",
    "python env": "python -m venv; uv venv; conda create; pipenv --python; poetry env use; pyenv virtualenv; "
    "python -m virtualenv; mkvirtualenv; conda env create; pew new; pdm venv create",
    "python remove env": "rmvirtualenv; pipenv --rm",
    "python activate": "conda activate; workon; pipenv shell; poetry shell; pyenv activate; source activate",
    "python deactivate": "deactivate; conda deactivate; pyenv deactivate",
    "python freeze": "pip freeze; pip-compile; uv lock; uv pip freeze; uv pip compile; poetry lock; pipenv lock; "
    "uv export; poetry export; conda env export; pipenv requirements; pdm lock; conda list --export; pdm export",
    "python list": "uv pip list; pip show; poetry show; conda list; pipenv graph; uv tree; uv pip show",
    "python test": "nose2; tox; nox; uv run pytest; trial; ward; python manage.py test; python setup.py test; "
    "unittest; nosetests; hatch run test",
    "python coverage": "coverage; coverage run; pytest --cov; coverage report; coverage html",
    "python lint": "flake8; pylint; ruff check; ruff; pycodestyle; pyflakes; bandit; hatch fmt --check; "
    "black --check; ruff format --check",
    "python format": "black; yapf; autopep8; isort; ruff check --fix; blue; docformatter",
    "python typecheck": "mypy; pyright; pyre; pytype; ty check; basedpyright; pyre check; dmypy run",
    "python build": "python setup.py; build; python setup.py sdist; python setup.py bdist_wheel; pip wheel; "
    "maturin build",
    "python publish": "twine upload; maturin publish",
    "python check package": "twine check; poetry check; pip check; uv pip check; check-manifest; check-wheel-contents",
    "python track experiment": "tensorboard; mlflow ui; wandb sync; aim up; mlflow server",
    "python profile": "python -m cProfile; scalene; kernprof; py-spy top; austin",
    "python audit": "pip-audit; safety check; bandit -r",
    "python hooks": "pre-commit run; pre-commit install; prek run; lefthook run; husky install; lefthook install",
    "python repl": "jupyter console; ipython; bpython; ptpython; python -i; python",
    "python notebook": "jupyter; jupyter lab; jupyter-lab; jupyter-notebook",
    "python convert notebook": "jupyter nbconvert; papermill; jupytext; quarto render",
    "python serve": "uvicorn; gunicorn; hypercorn; flask run; python manage.py runserver; fastapi dev; fastapi run; "
    "daphne; waitress-serve; granian; flask --app",
    "python run": "torchrun; accelerate launch; deepspeed; horovodrun; streamlit run; spark-submit; python <FILE>; "
    "python -c; python -; python <<",
    "db migrate": "php bin/console doctrine:migrations:migrate; bin/console doctrine:migrations:migrate; "
    "dotnet ef database update; mix ecto.migrate; sqitch deploy; atlas migrate apply; yoyo apply; "
    "python manage.py migrate; alembic upgrade; flask db upgrade; rake db:migrate; prisma migrate dev; "
    "prisma migrate deploy; knex migrate:latest; liquibase update; dbmate up; goose up; sqlx migrate run; "
    "diesel migration run; php artisan migrate; typeorm migration:run; migrate up; bin/rails db:migrate; "
    "aerich upgrade",
    "db rollback": "php bin/console doctrine:migrations:execute --down; mix ecto.rollback; sqitch revert; "
    "atlas migrate down; yoyo rollback; dotnet ef migrations remove; aerich downgrade; flask db downgrade; "
    "rails db:rollback; rake db:rollback; knex migrate:rollback; sequelize db:migrate:undo; dbmate down; goose down; "
    "sqlx migrate revert; diesel migration revert; php artisan migrate:rollback; typeorm migration:revert; "
    "migrate down; prisma migrate reset",
    "db new migration": "php bin/console make:migration; dotnet ef migrations add; mix ecto.gen.migration; "
    "sqitch add; atlas migrate diff; yoyo new; php bin/console doctrine:migrations:diff; typeorm migration:generate; "
    "rails generate model; migrate create; diesel migration generate; sequelize migration:generate; "
    "python manage.py makemigrations; alembic revision; flask db migrate; rails generate migration; "
    "rails g migration; knex migrate:make; prisma migrate dev --create-only; dbmate new; goose create; "
    "sqlx migrate add; php artisan make:migration; aerich migrate",
    "db status": "alembic current; alembic history; alembic heads; flask db current; flask db history; "
    "bin/rails db:migrate:status; flyway info; prisma migrate status; php artisan migrate:status; "
    "python manage.py showmigrations; knex migrate:status; knex migrate:list; sqlx migrate info; "
    "diesel migration list; migrate version; mix ecto.migrations; sqitch status; atlas migrate status",
    "db seed": "bin/rails db:seed; rake db:seed; php artisan db:seed; prisma db seed; knex seed:run; "
    "sequelize db:seed:all; python manage.py loaddata; flask seed",
    "db create": "bin/rails db:create; rake db:create; sequelize db:create; sqlx database create; mix ecto.create; "
    "diesel setup; diesel database setup",
    "db remove": "bin/rails db:drop; rake db:drop; sequelize db:drop; sqlx database drop; mix ecto.drop; "
    "python manage.py flush; flyway clean; liquibase dropAll; diesel database reset",
    "web assets": "python manage.py collectstatic; bin/rails assets:precompile; rake assets:precompile; "
    "php artisan optimize; mix phx.digest; flask digest compile; flask assets build",
    "web warm cache": "php artisan config:cache; php artisan route:cache; php artisan view:cache; "
    "php bin/console cache:warmup; bin/console cache:warmup",
    "web clear cache": "php artisan cache:clear; php artisan config:clear; php artisan route:clear; "
    "php bin/console cache:clear; bin/console cache:clear; bin/rails tmp:clear",
    "web serve": "bin/rails server; bin/rails s; puma; unicorn; rackup; passenger start; php artisan serve; "
    "symfony server:start; symfony serve; mix phx.server",
    "web console": "bin/rails console; bin/rails c; python manage.py shell; php artisan tinker; flask shell; iex",
    "rust test": "cargo nextest; cargo nextest run",
    "rust format": "rustfmt",
    "rust check": "cargo c",
    "rust build": "rustc",
    "rust install": "cargo add",
    "rust init": "cargo new",
    "rust retract": "cargo yank",
    "rust audit": "cargo audit; cargo deny check",
    "go build": "ko build",
    "go run": "air",
    "go publish": "goreleaser release; goreleaser",
    "go remove": "go clean",
    "go format": "gofmt; goimports; gofumpt",
    "go lint": "revive; golangci-lint run; golangci-lint; staticcheck; golint",
    "go install": "go get; go mod download",
    "go tidy": "go mod tidy; go mod vendor",
    "go test": "gotestsum; ginkgo",
    "go init": "go mod init",
    "jvm build": "mvn install; ant; mvn verify; sbt assembly; gradle jar; mvn clean package; mvn clean install; "
    "gradle bootJar; mvn clean verify; gradle clean build",
    "jvm compile": "mvn compile; gradle compileJava; gradle classes; gradle compileKotlin; sbt compile; mill compile; "
    "javac; kotlinc; lein compile",
    "jvm publish": "mvn deploy; lein deploy; gradle publishToMavenCentral; mvn release:perform; mvn release:prepare",
    "jvm list": "mvn dependency:tree; gradle dependencies; sbt dependencyTree; lein deps",
    "jvm lint": "mvn checkstyle:check; gradle checkstyleMain; gradle ktlintCheck; mvn spotbugs:check; ktlint; detekt; "
    "gradle spotlessCheck",
    "jvm format": "mvn spotless:apply; gradle spotlessApply; google-java-format; sbt scalafmt; scalafmt; "
    "gradle ktlintFormat",
    "jvm inspect process": "jstack; jmap; jstat; jcmd; jps; jinfo; jconsole; visualvm",
    "jvm test": "gradle check",
    "jvm run": "java -jar; mvn exec:java; mvn spring-boot:run; gradle bootRun",
    "ruby install": "bundle add; bundle",
    "ruby test": "bundle exec rake; bundle exec rspec; minitest; bin/rails test",
    "ruby lint": "rubocop; standardrb",
    "ruby publish": "gem push",
    "ruby remove": "gem yank; bundle clean; gem cleanup",
    "ruby outdated": "bundle list; gem list",
    "php lint": "phpcs; phpstan analyse; phpstan; psalm; php -l; pint --test",
    "php format": "phpcbf; php-cs-fixer fix; php-cs-fixer; pint",
    "php test": "phpunit; pest; php artisan test",
    "dotnet install": "dotnet add package; paket install; dotnet tool restore; dotnet tool install; Install-Package; "
    "dotnet restore; dotnet add; nuget restore",
    # .NET and further languages
    "dotnet build": "msbuild; xbuild",
    "dotnet test": "vstest.console; nunit3-console; dotnet vstest",
    "dotnet publish package": "dotnet nuget push; nuget push",
    "dotnet remove": "dotnet remove package; Uninstall-Package; dotnet tool uninstall",
    "beam install": "mix deps.get; rebar3 get-deps",
    "beam test": "rebar3 eunit; rebar3 ct",
    "beam build": "mix release; rebar3 release",
    "haskell build": "ghc",
    "swift build": "xcodebuild; swiftc",
    "flutter install": "flutter pub get; dart pub get; flutter pub add; dart pub add",
    "flutter lint": "flutter analyze; dart analyze",
    "device list": "adb devices; flutter devices; xcrun simctl list",
    "device install": "adb install; flutter install",
    "device remove": "adb uninstall",
    "device logs": "adb logcat; flutter logs; idevicesyslog",
    "pods install": "carthage bootstrap; carthage update; pod update",
    "document lint": "markdownlint; yamllint; shellcheck; hadolint; vale; xmllint; htmlhint",
    # native builds
    "native configure": "./bootstrap; ccmake; conan install; vcpkg install; cmake; meson setup; autoreconf; qmake; "
    "./configure; autogen.sh; meson",
    "native build": "make; cmake --build; ninja; make all; gcc; g++; clang; clang++; cc; scons; xmake",
    "native test": "ctest; make check",
    "native install": "cmake --install; checkinstall",
    "native clean": "scons -c; make mrproper",
    "native format": "clang-format; indent; astyle; uncrustify",
    "native lint": "clang-tidy; cppcheck",
    "native debug": "drmemory; rr record; rr replay; gdb; lldb; cgdb; valgrind",
    # containers and clusters
    "container build image": "docker build; docker buildx build; podman build; nerdctl build; buildah bud; "
    "buildah build; gcloud builds submit; az acr build; kaniko; docker buildx bake",
    "container push image": "docker push; podman push; nerdctl push; buildah push; skopeo copy; crane push",
    "container pull image": "docker pull; podman pull; nerdctl pull; crane pull",
    "container tag image": "docker tag; podman tag; docker image tag; nerdctl tag; buildah tag; crane tag",
    "container list image": "docker images; podman images; nerdctl images; buildah images",
    "container remove image": "docker rmi; podman rmi; nerdctl rmi",
    "container save image": "docker save; podman save; docker image save; docker export",
    "container load image": "docker load; podman load; docker image load; docker import",
    "container prune": "podman volume prune; podman container prune; docker network prune; nerdctl system prune; "
    "podman image prune; docker image prune; docker buildx prune; docker system prune; docker builder prune; "
    "docker container prune; podman system prune; docker volume prune",
    "container run": "docker run; podman run; nerdctl run; docker container run; docker create",
    "container start": "docker start; podman start; docker container start; nerdctl start",
    "container stop": "docker pause; nerdctl kill; docker container kill; crictl stop; docker stop; docker kill; "
    "podman stop; podman kill; docker container stop; nerdctl stop",
    "container remove": "crictl rm; docker rm; podman rm; docker container rm; nerdctl rm",
    "container list": "crictl ps; docker container ps; docker ps; podman ps; docker container ls; nerdctl ps; "
    "docker container list",
    "container exec": "docker exec; podman exec; docker container exec; nerdctl exec; docker attach",
    "container logs": "crictl logs; docker logs; podman logs; docker container logs; nerdctl logs",
    "container usage": "docker stats; docker system df; podman stats; docker top; podman system df",
    "compose up": "podman compose up",
    "compose down": "docker-compose stop; docker-compose kill; podman compose down; docker compose rm",
    "compose list": "docker compose top; podman compose ps",
    "container login": "docker login; podman login; nerdctl login; skopeo login; helm registry login; "
    "crane auth login; aws ecr get-login-password; az acr login; gcloud auth configure-docker",
    "container logout": "docker logout; podman logout; nerdctl logout; skopeo logout; helm registry logout",
    "container commit": "docker commit; podman commit; nerdctl commit",
    "container copy": "docker cp; podman cp; docker container cp; nerdctl cp",
    "container inspect": "docker inspect; podman inspect; docker image inspect; docker container inspect; "
    "nerdctl inspect; docker history; dive; skopeo inspect; docker port; docker diff",
    "container list volume": "docker volume inspect",
    "container list network": "docker network inspect",
    "container connect network": "docker network connect; podman network connect",
    "container disconnect network": "docker network disconnect; podman network disconnect",
    "compose exec": "docker-compose exec; docker-compose run",
    "swarm deploy": "docker stack deploy; docker service create; docker service update; docker swarm init; "
    "docker swarm join",
    "swarm remove": "docker stack rm; docker service rm; docker swarm leave",
    "scan vulnerabilities": "trivy; grype; snyk test; snyk container test; docker scout; docker scan; clair-scanner; "
    "trivy image; trivy fs; osv-scanner; docker scout cves",
    "cluster apply": "kubectl create -f; kubectl replace; oc create -f; skaffold run",
    "cluster remove": "kubectl delete; oc delete",
    "cluster context": "kubectl config use-context; kubectx; oc project; kubens; kubectl config set-context; "
    "oc config use-context; kubie ctx",
    "cluster status": "kubectl rollout status; oc rollout status; kubectl wait; argocd app wait",
    "cluster undo": "kubectl rollout undo; oc rollout undo",
    "cluster restart": "kubectl rollout restart; oc rollout restart; oc rollout latest",
    "cluster list history": "kubectl rollout history; oc rollout history",
    "cluster shell": "kubectl exec; oc exec; oc rsh; kubectl debug; kubectl attach",
    "cluster logs": "kubectl logs; oc logs; stern; kubetail; kail",
    "cluster forward": "kubectl port-forward; oc port-forward; kubefwd",
    "cluster cordon": "kubectl drain; oc adm cordon; oc adm drain; kubectl taint",
    "cluster uncordon": "oc adm uncordon",
    "cluster usage": "kubectl top; oc adm top",
    "cluster scale": "kubectl autoscale; oc autoscale",
    "cluster set image": "kubectl set image; oc set image; kustomize edit set image; kubectl patch; oc patch; "
    "kubectl edit; oc edit",
    "cluster expose": "oc create route",
    "cluster label": "kubectl annotate; oc annotate",
    "cluster render": "kustomize build; kubectl kustomize; kubectl diff; oc process; kubectl apply --dry-run; "
    "jsonnet; kubeconform; kubeval; kube-linter",
    "cluster login": "oc login; aws eks update-kubeconfig; gcloud container clusters get-credentials; "
    "az aks get-credentials; tsh kube login; doctl kubernetes cluster kubeconfig save",
    "cluster sync": "argocd app sync; flux reconcile; argocd app create",
    "cluster create secret": "kubectl create configmap; oc create configmap",
    "chart install": "helm install; helm upgrade --install; helm upgrade -i; helmfile apply; helmfile sync",
    "chart remove": "helm del; helm uninstall; helm delete",
    "chart refresh": "helm repo update; helm dependency update",
    "chart rollback": "helm rollback",
    "chart search": "helm search; helm search repo; helm show; helm search hub",
    "chart list": "helm list; helm ls",
    "chart status": "helm status; helm history; helm get",
    "chart lint": "helm lint; ct lint",
    "chart pack": "helm package; helm dependency build",
    "chart push": "helm push; helm cm-push",
    "chart preview": "helm template; helm diff; helmfile diff; helm install --dry-run; helm upgrade --dry-run",
    "minicluster start": "microk8s start; colima start; k3d cluster start; minikube start; kind create cluster; "
    "k3d cluster create",
    "minicluster stop": "minikube pause; k3d node stop; microk8s stop; colima stop; minikube stop; minikube delete; "
    "kind delete cluster; k3d cluster delete; k3d cluster stop",
    # infrastructure
    "infra plan": "pulumi preview; cdk diff; cdk synth",
    "infra apply": "pulumi up; cdk deploy; cdktf deploy; terragrunt run-all apply",
    "infra remove": "terraform destroy; tofu destroy; pulumi destroy; terraform apply -destroy; tofu apply -destroy; "
    "pulumi down",
    "infra plan remove": "pulumi destroy --preview-only; terragrunt plan -destroy; terraform plan -destroy; "
    "tofu plan -destroy",
    "infra workspace": "terragrunt workspace select; terraform workspace new; tofu workspace new; "
    "terraform workspace select; tofu workspace select; pulumi stack select",
    "infra format": "terraform fmt; tofu fmt; terragrunt hclfmt; terragrunt hcl format",
    "infra check": "terraform validate; tofu validate; tflint; checkov; tfsec; cfn-lint; terrascan; conftest test",
    "infra import": "terraform import; tofu import; pulumi import",
    "infra forget": "terraform state rm; tofu state rm; pulumi state delete",
    "infra list state": "terraform show; terraform state show; tofu show; pulumi stack; cdk list; terraform output; "
    "tofu output; pulumi stack output",
    "infra refresh": "terraform refresh; tofu refresh; pulumi refresh",
    "infra unlock": "terraform force-unlock; tofu force-unlock; pulumi cancel",
    "infra login": "terraform login; tofu login; pulumi login",
    "infra logout": "terraform logout; tofu logout; pulumi logout",
    "machines check": "ansible-playbook --check; ansible-playbook -C; puppet agent --noop; "
    "salt state.apply test=True; chef-client --why-run; chef-client -W",
    "machines apply": "ansible-playbook; puppet agent --test; puppet agent -t; salt * state.apply; salt state.apply; "
    "salt-call state.apply; salt * state.highstate; salt-call state.highstate; chef-client; chef-solo",
    "machines lint": "ansible-lint; ansible-playbook --syntax-check; puppet parser validate; puppet-lint; cookstyle; "
    "foodcritic; salt-lint; packer validate",
    "machines install roles": "ansible-galaxy install; ansible-galaxy collection install; "
    "ansible-galaxy role install; berks install; r10k deploy; puppet module install; librarian-puppet install",
    "machines ping": "ansible -m; salt * test.ping; knife status; ansible * -m",
    "machines shell": "vagrant ssh; lxc shell; lxc exec; multipass exec; virsh console",
    "machines snapshot": "vagrant snapshot save; virsh snapshot-create; lxc snapshot; multipass snapshot; "
    "virsh snapshot-create-as",
    "machines restore": "vagrant snapshot restore; virsh snapshot-revert; lxc restore; multipass restore",
    "cloud create instance": "aws ec2 run-instances; az vm create; doctl compute droplet create; "
    "openstack server create; hcloud server create; linode-cli linodes create; oci compute instance launch",
    "cloud remove instance": "aws ec2 terminate-instances; az vm delete; doctl compute droplet delete; "
    "openstack server delete; hcloud server delete; linode-cli linodes delete; oci compute instance terminate",
    "cloud start instance": "az vm start; openstack server start; hcloud server poweron; aws ec2 reboot-instances",
    "cloud stop instance": "az vm stop; az vm deallocate; openstack server stop; hcloud server shutdown",
    "cloud show instance": "gcloud compute instances list; az vm list; az vm show; doctl compute droplet list; "
    "doctl compute droplet get; openstack server list; hcloud server list; aws ec2 describe-instance-status",
    "cloud ready": "aws ec2 wait; aws rds wait; aws cloudformation wait; az vm wait; aws ecs wait; aws eks wait",
    "cloud tag": "aws ec2 create-tags; gcloud compute instances add-labels; az tag create",
    "cloud shell": "gcloud compute ssh; aws ssm start-session; az ssh vm; doctl compute ssh; hcloud server ssh; "
    "openstack server ssh",
    "cloud allow": "aws ec2 authorize-security-group-ingress; gcloud compute firewall-rules create; "
    "az network nsg rule create",
    "cloud deny": "aws ec2 revoke-security-group-ingress; gcloud compute firewall-rules delete; "
    "az network nsg rule delete",
    "cloud create function": "gcloud functions deploy; az functionapp create; aws lambda update-function-code; "
    "az functionapp deployment source config-zip; func azure functionapp publish",
    "cloud run function": "aws lambda invoke; gcloud functions call",
    "cloud remove function": "az functionapp delete",
    "cloud create stack": "aws cloudformation deploy; aws cloudformation update-stack; az deployment group create; "
    "gcloud deployment-manager deployments create; sam deploy",
    "cloud remove stack": "az group delete; gcloud deployment-manager deployments delete; sam delete",
    "cloud create cluster": "eksctl create cluster; az aks create",
    "cloud remove cluster": "eksctl delete cluster; az aks delete",
    "cloud create database": "aws rds create-db-instance; gcloud sql instances create; az sql server create; "
    "az postgres flexible-server create",
    "cloud remove database": "aws rds delete-db-instance; gcloud sql instances delete; az sql server delete; "
    "az postgres flexible-server delete",
    "cloud create snapshot": "aws rds create-db-snapshot; gcloud compute disks snapshot; az snapshot create; "
    "openstack volume snapshot create; gcloud sql backups create",
    "cloud put secret": "aws secretsmanager create-secret; aws ssm put-parameter; gcloud secrets create; "
    "gcloud secrets versions add; az keyvault secret set; aws secretsmanager put-secret-value",
    "cloud get secret": "aws secretsmanager get-secret-value; aws ssm get-parameter; gcloud secrets versions access; "
    "az keyvault secret show",
    "cloud logs": "aws logs; gcloud logging read; az monitor activity-log; gcloud functions logs read; aws logs tail; "
    "sam logs",
    "paas rollback": "heroku rollback; heroku releases:rollback; wrangler rollback; firebase hosting:rollback",
    "paas config": "heroku config:set; fly secrets set; flyctl secrets set; vercel env add; netlify env:set; "
    "railway variables; wrangler secret put",
    "paas unset config": "heroku config:unset; fly secrets unset; flyctl secrets unset; vercel env rm; "
    "netlify env:unset; wrangler secret delete",
    "paas scale": "heroku ps:scale",
    "secrets put": "vault kv put; vault write; pass insert; pass generate; op item create; gopass insert; "
    "vault kv patch",
    "secrets get": "vault kv get; vault read; pass show; op item get; op read; gopass show; bw get",
    "secrets remove": "vault kv delete; vault delete; op item delete",
    "infra init": "terraform init; tofu init; pulumi new; pulumi stack init",
    "bucket copy": "aws s3 cp; aws s3 sync; gsutil cp; gsutil rsync; s3cmd put; gcloud storage cp; "
    "gcloud storage rsync; az storage blob upload; az storage blob upload-batch; aws s3 mv; gsutil mv",
    "bucket list": "aws s3 ls; gsutil ls; gcloud storage ls; az storage blob list; rclone lsf",
    "bucket remove": "aws s3 rm; aws s3 rb; gsutil rm; gsutil rb; s3cmd rb; mc rb; gcloud storage rm; "
    "az storage blob delete; az storage container delete",
    "bucket create": "aws s3 mb; gsutil mb; s3cmd mb; mc mb; gcloud storage buckets create; "
    "az storage container create",
    "cloud invalidate": "aws cloudfront create-invalidation; gcloud compute url-maps invalidate-cdn-cache; "
    "az cdn endpoint purge",
    "cloud whoami": "aws sts get-caller-identity; gcloud auth list; az account show; gcloud config list",
    "cloud login": "aws sso login; aws configure; az login; gcloud init",
    "machines up": "multipass launch; multipass start",
    "machines down": "vagrant halt; vagrant suspend; multipass stop",
    "paas deploy": "git push heroku; fly deploy; flyctl deploy; vercel; railway up; wrangler deploy; "
    "wrangler publish; firebase deploy; gcloud app deploy; eb deploy; cap deploy; gcloud run deploy; sls deploy",
    "paas logs": "heroku logs; fly logs; flyctl logs; wrangler tail",
    # system packages and services
    "system refresh": "zypper --gpg-auto-import-keys; guix pull; nix-channel --update; scoop update; xbps-install -S; "
    "pkgin update; apt-file update; apt update; pacman -Sy; zypper ref; apk update; brew update; port selfupdate; "
    "pkg update; emerge --sync; snap refresh --list",
    "system install": "yum localinstall; yay; paru -S; xbps-install; pkg_add; pkgin install; eopkg install; "
    "swupd bundle-add; guix install; nix profile install; apk fetch; pacman -S; zypper in; apk add; emerge; "
    "nix-env -i; dpkg -i; rpm -i; dnf localinstall; brew bundle; apt reinstall; brew reinstall; dnf groupinstall",
    "system remove": "apt clean; apk cache; dnf clean; yum clean; brew cleanup; port reclaim; snap forget; "
    "xbps-remove; apt autoclean; pacman -R; emerge -C; nix-env -e; dpkg -r; dpkg -P; rpm -e",
    "system upgrade": "apt full-upgrade; apt dist-upgrade; pacman -Su; zypper up; snap refresh; unattended-upgrade; "
    "pacman -Syu; zypper dup",
    "system list": "apt-file search; yum search; apk search; dpkg -S; brew deps; pkg info; port installed; "
    "zypper info; brew services info; dpkg -l; dpkg -L; rpm -q; pacman -Q; apk info; zypper search; apt show; "
    "apt policy; dnf info; brew info; apt search; dnf search; pacman -Ss; brew search; yum info; pacman -Si",
    "system add repo": "add-apt-repository; apt-add-repository; dnf config-manager; yum-config-manager; "
    "dnf copr enable; zypper addrepo; zypper ar; brew tap; flatpak remote-add; scoop bucket add; choco source add; "
    "nix-channel --add; subscription-manager repos",
    "system remove repo": "add-apt-repository --remove; add-apt-repository -r; apt-add-repository --remove; "
    "zypper removerepo; zypper rr; dnf copr disable; brew untap; flatpak remote-delete; scoop bucket rm; "
    "choco source remove; nix-channel --remove",
    "system trust key": "apt-key add; rpm --import; apt-key adv; pacman-key --add; pacman-key -a; "
    "pacman-key --recv-keys; pacman-key --lsign-key",
    "system remove key": "apt-key del; pacman-key --delete; pacman-key -d; rpm -e gpg-pubkey",
    "system hold": "apt-mark hold; dnf versionlock; brew pin; zypper addlock; choco pin; dnf versionlock add",
    "system unhold": "apt-mark unhold; dnf versionlock delete; brew unpin; zypper removelock",
    "system configure": "dpkg-reconfigure; dpkg --configure; update-alternatives; alternatives; "
    "debconf-set-selections",
    "service create": "sc create; New-Service; nssm install; Register-ScheduledTask; systemd-run",
    "service remove": "sc delete; Remove-Service; nssm remove",
    "service change": "sc config; Set-Service; nssm set; sc failure; systemctl set-property",
    "service daemon-reload": "systemctl daemon-reexec; initctl reload-configuration; telinit q",
    "service enable part": "a2ensite; a2enmod; a2enconf; phpenmod; lighty-enable-mod; rabbitmq-plugins enable",
    "service disable part": "a2dissite; a2dismod; a2disconf; phpdismod; lighty-disable-mod; rabbitmq-plugins disable",
    "service boot times": "systemd-analyze; systemd-analyze blame; systemctl list-dependencies",
    "service start": "sc start; net start; Start-Service; nssm start; launchctl kickstart; systemctl start; "
    "service * start; rc-service * start; launchctl load; launchctl bootstrap; brew services start; "
    "systemctl enable --now",
    "service stop": "sc stop; net stop; Stop-Service; nssm stop; systemctl stop; service * stop; rc-service * stop; "
    "launchctl unload; systemctl kill; launchctl bootout; brew services stop; pm2 delete",
    "service restart": "Restart-Service; nssm restart; nginx -s reopen; systemctl restart; service * restart; "
    "rc-service * restart; brew services restart; systemctl try-restart",
    "service reload": "apache2ctl graceful; service * force-reload; postfix reload; pg_ctl reload; haproxy -sf; "
    "systemctl try-reload-or-restart; service * reload; rc-service * reload; nginx -s; supervisorctl update; "
    "supervisorctl reread; apachectl graceful; systemctl reload-or-restart; caddy reload",
    "service status": "sc query; sc qc; Get-Service; systemctl show; rc-status; systemctl is-enabled; "
    "systemctl list-unit-files; nssm status; service --status-all; systemctl status; service * status; "
    "rc-service * status; pm2 list; brew services list; launchctl list; systemctl is-active; brew services; "
    "systemctl list-units",
    "service enable": "sysrc; systemctl preset; rc-update * default; systemctl reenable; systemctl enable; "
    "update-rc.d; update-rc.d defaults; update-rc.d * defaults; update-rc.d * enable; rc-update add; chkconfig * on; "
    "pm2 startup; pm2 save; systemctl unmask",
    "service disable": "systemctl disable; update-rc.d remove; update-rc.d * remove; update-rc.d * disable; "
    "rc-update del; chkconfig * off; pm2 unstartup; systemctl mask",
    "service check": "squid -k parse; postfix check; apache2 -t; httpd -S; dovecot -n; named-checkzone; nginx -T; "
    "varnishd -C; lighttpd -t; nginx -t; apachectl configtest; apache2ctl configtest; httpd -t; haproxy -c; "
    "named-checkconf; sshd -t; caddy validate; visudo -c; promtool check",
    "service logs": "Get-EventLog; Get-WinEvent; log show; log stream; logread; journalctl; dmesg; supervisorctl tail",
    # databases
    "sql create database": "psql -c create; createdb; mysqladmin create; psql --create",
    "sql remove database": "dropdb; mysqladmin drop",
    "sql dump": "sqlite3 >; duckdb >; psql >; mysql >; mongoexport; redis-cli save; mariabackup --backup; "
    "xtrabackup --backup; clickhouse-backup create; cockroach dump; duckdb .export; expdp; exp; neo4j-admin dump; "
    "etcdctl snapshot save; bq extract; gcloud sql export; influx backup; wal-g backup-push; pgbackrest backup; "
    "pg_dump; mysqldump; pg_dumpall; mongodump; sqlite3 .dump; sqlite3 .backup; pg_basebackup; mydumper; "
    "influxd backup; redis-cli --rdb; redis-cli BGSAVE; redis-cli bgsave; redis-cli SAVE",
    "sql load": "xtrabackup --copy-back; mariabackup --copy-back; clickhouse-backup restore; impdp; imp; "
    "neo4j-admin load; etcdctl snapshot restore; bq load; gcloud sql import; influx restore; wal-g backup-fetch; "
    "pgbackrest restore; cqlsh -f; sqlcmd -i; pg_restore; mongorestore; psql <; mysql <; psql -f; psql --file; "
    "mysqlimport; mongoimport; sqlite3 <; sqlite3 .read; sqlite3 .restore; sqlite3 .import; mysql source; pgloader; "
    "myloader; duckdb <; duckdb -f",
    "sql query": "psql; mysql; sqlite3; duckdb; mongosh; mongo; sqlcmd; sqlplus; redis-cli; clickhouse-client; usql; "
    "cqlsh; pgcli; mycli; litecli; bq query",
    "sql ready": "pg_isready; mysqladmin ping; redis-cli ping; redis-cli PING",
    "sql create user": "createuser",
    "sql remove user": "dropuser",
    "sql remove data": "redis-cli flushall; redis-cli flushdb; redis-cli FLUSHALL; redis-cli FLUSHDB; redis-cli del; "
    "redis-cli DEL",
    "sql maintain": "vacuumdb; reindexdb; mysqlcheck; pg_repack; mysqloptimize; clusterdb",
    "sql usage": "pg_top; mytop; mongostat; mongotop; pg_activity; mysqladmin processlist; mysqladmin status; "
    "redis-cli monitor; redis-cli info; redis-cli slowlog; redis-cli INFO; redis-cli MONITOR; redis-cli dbsize; "
    "redis-cli keys",
    "sql server start": "pg_ctl start; pg_ctlcluster start; mysqld_safe; mongod; redis-server; initdb; pg_ctl init; "
    "mysqld",
    "sql server stop": "pg_ctl stop; pg_ctlcluster stop; mysqladmin shutdown; redis-cli shutdown; redis-cli SHUTDOWN",
    "queue create topic": "kafka-topics --create; kafka topic create; gcloud pubsub topics create; "
    "aws sns create-topic; aws sqs create-queue; rabbitmqadmin declare; nats stream add; kaf topic create; "
    "gcloud pubsub subscriptions create",
    "queue remove topic": "kafka-topics --delete; gcloud pubsub topics delete; aws sns delete-topic; "
    "aws sqs delete-queue; rabbitmqadmin delete; rabbitmqctl delete_queue; nats stream rm; kaf topic delete; "
    "gcloud pubsub subscriptions delete",
    "queue list topic": "kafka-topics --list; kafka-topics --describe; rpk topic describe; gcloud pubsub topics list; "
    "aws sqs list-queues; aws sns list-topics; rabbitmqctl list_queues; rabbitmqadmin list; nats stream ls; "
    "nats stream info; kcat -L; kaf topics; kaf topic describe; kaf topic ls; rabbitmqctl list_exchanges",
    "queue change topic": "kafka-configs --alter; kafka-topics --alter; rpk topic alter-config; "
    "rpk topic add-partitions; aws sqs set-queue-attributes; nats stream edit",
    "queue send": "kafka-console-producer; kcat -P; rpk topic produce; gcloud pubsub topics publish; aws sns publish; "
    "aws sqs send-message; rabbitmqadmin publish; nats pub; mosquitto_pub; kaf produce",
    "queue receive": "kafka-console-consumer; kcat -C; rpk topic consume; gcloud pubsub subscriptions pull; "
    "aws sqs receive-message; rabbitmqadmin get; nats sub; mosquitto_sub; kaf consume",
    "queue list group": "kafka-consumer-groups --list; kafka-consumer-groups --describe; rpk group describe; "
    "kaf groups; rabbitmqctl list_consumers",
    "queue clean": "rabbitmqctl purge_queue; aws sqs purge-queue; rabbitmqadmin purge; nats stream purge; "
    "celery purge; rpk topic trim-prefix",
    "queue add vhost": "rabbitmqctl add_vhost",
    "queue remove vhost": "rabbitmqctl delete_vhost",
    "queue add user": "rabbitmqctl add_user; rpk acl user create; nsc add user",
    "queue remove user": "rabbitmqctl delete_user; rpk acl user delete; nsc delete user",
    "queue allow": "rabbitmqctl set_permissions; kafka-acls --add; rpk acl create; rabbitmqctl set_user_tags",
    "queue deny": "rabbitmqctl clear_permissions; kafka-acls --remove; rpk acl delete",
    "workflow run": "airflow dags trigger; airflow dags test; prefect deployment run; dagster job execute; dbt run; "
    "dbt build; airflow tasks run; airflow tasks test; celery worker; luigi; meltano run; argo submit",
    "workflow list": "airflow dags list; airflow tasks list; dbt ls; dbt list; prefect deployment ls; argo list; "
    "celery inspect; celery status",
    "workflow stop": "airflow dags pause; argo stop; argo terminate; prefect flow-run cancel; celery control",
    "workflow resume": "airflow dags unpause; argo resume",
    "batch submit": "sbatch; qsub; bsub; srun; condor_submit; flux submit; salloc",
    "batch cancel": "scancel; qdel; bkill; condor_rm",
    "batch list": "squeue; qstat; bjobs; sacct; sinfo; condor_q; qhost; bhosts",
    "backup init": "kopia repository create; borg repo-create",
    "backup save": "restic backup; borg create; kopia snapshot create; kopia snapshot; duplicity full; "
    "duplicity backup; duplicity; bup save; tarsnap -c; rdiff-backup; rdiff-backup backup; rsnapshot; "
    "tmutil startbackup; timeshift --create; borgmatic; borgmatic create; snapper create",
    "backup load": "restic restore; borg extract; kopia restore; kopia snapshot restore; duplicity restore; "
    "bup restore; tarsnap -x; rdiff-backup restore; rdiff-backup -r; tmutil restore; timeshift --restore; "
    "borgmatic extract; snapper rollback; snapper undochange",
    "backup list": "restic snapshots; restic stats; borg info; kopia snapshot list; duplicity collection-status; "
    "tarsnap --list-archives; rdiff-backup -l; tmutil listbackups; timeshift --list; snapper list",
    "backup prune": "restic forget; restic prune; borg prune; borg compact; kopia snapshot expire; "
    "duplicity remove-older-than; rdiff-backup --remove-older-than; tmutil thinlocalsnapshots; bup prune-older; "
    "kopia maintenance run",
    "backup check": "kopia snapshot verify; bup fsck; rdiff-backup --verify",
    # files
    "file list": "Get-ChildItem; gci; br; ranger; realpath; readlink; ls; eza; exa; lsd; tree; dir; stat; file; vdir",
    "file print": "Get-Content; bzcat; xzcat; zstdcat; view; tac; cat; less; more; bat; most; pg; head; tail; zless; "
    "zmore",
    "file follow": "lnav; tail -f; tail -F; less +F; multitail; tail --follow",
    "file page": "man; info; tldr; help",
    "file copy": "Copy-Item; robocopy; gcp; cp; install; ditto; xcopy; copy",
    "file move": "Move-Item; Rename-Item; ren; mv; rename; move; git mv; hg mv; hg rename; svn mv; mmv",
    "file remove": "Remove-Item; erase; gtrash put; rm; unlink; shred; trash; trash-put; del; srm; gio trash",
    "file remove directory": "rmdir; rm -r; rm -R; rm --recursive",
    "file create directory": "New-Item -ItemType; mkdir; install -d; md",
    "file create": "touch; truncate; fallocate; mktemp",
    "file link": "mklink; ln",
    "file permit": "chattr; icacls; takeown; chcon; restorecon; setcap; chmod; chown; chgrp; setfacl",
    "file search": "grep; rg; ag; ack; zgrep; git grep; ugrep; pt; rga",
    "file find": "find; fd; locate; mlocate; plocate; mdfind; which; whereis; type",
    "file find remove": "find -delete",
    "file substitute": "sed -i; perl -i; sd; gsed -i; perl -pe; sed --in-place",
    "file filter": "sed; awk; cut; tr; gawk; perl; sort; uniq; paste; column; choose; mawk",
    "file count": "wc; cloc; tokei; scc; nl",
    "file compare": "diff; cmp; colordiff; vimdiff; delta; comm; difft; sdiff; meld",
    "file checksum": "sha224sum; sha384sum; openssl md5; certutil -hashfile; Get-FileHash; xxhsum; sum; openssl sha1; "
    "sha256sum; sha512sum; md5sum; sha1sum; shasum; md5; b2sum; cksum; openssl dgst; b3sum; openssl sha256",
    "file json": "jq; yq; fx; gron; python -m json.tool; dasel; jless",
    "file edit": "vim; nano; emacs; code; micro; helix; hx; subl; ed; gedit; kate; idea; open; xdg-open; evince",
    "table inspect": "csvstat; csvlook; xsv stats; mlr; csvcut; qsv stats; vd; xsv headers; xsv; qsv; csvsql; csvkit",
    "archive pack": "gtar -c; zstdmt; Compress-Archive; rar; makeself; pbzip2; lzma; brotli; 7zz a; tar -c; zip; "
    "gzip; bzip2; xz; zstd; 7z a; 7za a; tar --create; pigz; rar a; lz4; ar; cpio -o; bsdtar -c; compress",
    "archive unpack": "gtar -x; Expand-Archive; brotli -d; unlzma; 7zz x; unsquashfs; rar x; uncompress.real; "
    "zcat <FILE>; dtrx; atool -x; bsdunzip; tar -x; unzip; gunzip; bunzip2; unxz; zstd -d; 7z x; 7za x; "
    "tar --extract; unrar x; gzip -d; bzip2 -d; xz -d; unzstd; 7z e; bsdtar -x; unar; lz4 -d; cpio -i; unpigz; "
    "uncompress",
    "archive list": "gtar -t; unrar l; zstd -l; xz -l; lsar; 7zz l; tar -t; unzip -l; 7z l; zipinfo; tar --list; "
    "unzip -t; gzip -t; gzip -l; bsdtar -t; tar -d",
    "crypt encrypt": "gpg -e; gpg -c; gpg --encrypt; gpg --symmetric; age; openssl enc; sops -e; sops encrypt; "
    "ansible-vault encrypt",
    "crypt decrypt": "age -d; openssl enc -d; sops -d; sops decrypt; age --decrypt; ansible-vault decrypt; gpg",
    "crypt sign": "gpg --sign; gpg -s; gpg --detach-sign; minisign -S; cosign sign; gpg --clearsign; signify -S; "
    "gpg -b",
    "crypt verify": "gpg --verify; minisign -V; cosign verify; sha256sum -c; openssl verify; signify -V; "
    "sha512sum -c; md5sum -c; shasum -c",
    "crypt keys": "ssh-keygen; gpg --gen-key; gpg --full-generate-key; age-keygen; openssl genrsa; openssl genpkey; "
    "wg genkey",
    "crypt certificate": "openssl ca; certbot renew; certbot run; step ca certificate; keytool -genkeypair; "
    "keytool -genkey; certbot install; openssl req; openssl x509; certbot; certbot certonly; acme.sh; mkcert; "
    "step ca; cfssl; lego",
    "crypt remove certificate": "certbot revoke; certbot delete; acme.sh --revoke; acme.sh --remove; step ca revoke; "
    "keytool -delete; openssl ca -revoke",
    "crypt list certificate": "certbot certificates; openssl s_client; openssl x509 -noout; openssl x509 -text; "
    "keytool -list; acme.sh --list; sslscan; testssl.sh; testssl; sslyze; openssl req -text",
    "crypt import": "gpg --import; keytool -importcert; keytool -import; gpg --recv-keys; security import; "
    "update-ca-certificates; update-ca-trust; certutil -addstore; trust anchor",
    "crypt export": "gpg --export; gpg --export-secret-keys; keytool -exportcert; openssl pkcs12 -export; "
    "gpg --send-keys; keytool -export; security export",
    "crypt list keys": "gpg --list-keys; gpg --list-secret-keys; gpg -k; gpg -K; ssh-add -l; ssh-add -L; "
    "ssh-keygen -l; gpg --fingerprint",
    "crypt remove keys": "gpg --delete-keys; gpg --delete-secret-keys; gpg --delete-key; ssh-keygen -R; ssh-add -D; "
    "ssh-add -d; gpg --delete-secret-and-public-key",
    "crypt edit keys": "gpg --edit-key; ssh-keygen -p; gpg --sign-key; gpg --quick-add-uid",
    "crypt agent": "ssh-agent; gpg-agent; gpgconf; keychain",
    "crypt authorise": "ssh-copy-id; ssh-add",
    # network
    "net download": "curl --remote-name-all; youtube-dl; lwp-download; Invoke-WebRequest; iwr; Start-BitsTransfer; "
    "gallery-dl; gdown; huggingface-cli download; hf download; kaggle datasets download; wget; curl -O; curl -o; "
    "curl --output; aria2c; axel; curl -L; curl --remote-name; yt-dlp; http --download; xh --download; wget2",
    "net upload": "curl -T; curl --upload-file; curl -F; wget --post-file; ftp-upload; wput; curl --form",
    "net request": "Invoke-RestMethod; irm; grpcurl; websocat; lynx; w3m; curl; http; xh; https; httpie; curlie; "
    "wget -q -O -; wget -qO-; hurl; wget --post-data; wget -S",
    "net probe": "curl -I; wget --spider; curl --head; http HEAD",
    "net copy": "tar --remote; magic-wormhole; wormhole; rclone copyurl; pv; psftp; gcloud compute scp; bbcp; mscp; "
    "scp; rsync; sftp; rclone copyto; croc; lftp; unison; pscp; sshpass",
    "net shell": "autossh; sshuttle; plink; Enter-PSSession; tailscale ssh; tsh ssh; ssh; mosh; telnet; et",
    "net sockets": "ss; netstat; fuser; lsof; nmap -p",
    "net resolve": "whois; resolvectl status; Resolve-DnsName; systemd-resolve; delv; dig; nslookup; host; drill; "
    "getent hosts; resolvectl query; dog; doggo; kdig; resolvectl",
    "net ping": "ping; fping; ping6; gping; arping",
    "net trace": "traceroute; tracepath; mtr; tracert",
    "net scan": "Test-NetConnection; arp-scan; netdiscover; fscan; nmap; masscan; rustscan; zmap; naabu; nc",
    "net up interface": "ip link set * up; ip link set up; ifup; ifconfig * up; ifconfig up; nmcli connection up; "
    "nmcli con up; nmcli c up; netplan apply; wg-quick up; nmcli device connect; networkctl up",
    "net down interface": "ip link set * down; ip link set down; ifdown; ifconfig * down; ifconfig down; "
    "nmcli connection down; nmcli con down; nmcli c down; wg-quick down; nmcli device disconnect; networkctl down",
    "net add interface": "ip link add; brctl addbr; nmcli connection add; nmcli con add; ip tuntap add; brctl addif; "
    "vconfig add; ovs-vsctl add-br; ip netns add; ovs-vsctl add-port",
    "net remove interface": "ip link delete; ip link del; brctl delbr; nmcli connection delete; nmcli con delete; "
    "ip tuntap del; brctl delif; vconfig rem; ovs-vsctl del-br; ip netns delete; ip netns del; ovs-vsctl del-port",
    "net add address": "ip addr add; ip a add; ip address add; ifconfig netmask; ifconfig * netmask; ifconfig add; "
    "dhclient; nmcli connection modify; nmcli con mod; nmcli con modify; ifconfig <IP>; dhcpcd",
    "net remove address": "ip addr del; ip a del; ip address del; ip addr flush; ip address flush; dhclient -r; "
    "ip addr delete; dhcpcd -k",
    "net add route": "ip route add; ip r add; route add; ip route replace; ip rule add",
    "net remove route": "ip route del; ip r del; route del; ip route delete; route delete; ip rule del; "
    "ip route flush",
    "net show vpn": "wg; wg show; ipsec status; ipsec statusall; tailscale status; zerotier-cli status; "
    "swanctl --list-sas",
    "net up vpn": "openvpn; tailscale up; ipsec start; ipsec up; zerotier-cli join; openconnect; swanctl --initiate; "
    "warp-cli connect",
    "net down vpn": "tailscale down; ipsec stop; ipsec down; zerotier-cli leave; swanctl --terminate; "
    "warp-cli disconnect",
    "security web scan": "nikto; whatweb; wpscan; zap-cli; nuclei; wapiti; skipfish; arachni; zap-baseline.py",
    "security find paths": "gobuster; ffuf; dirb; wfuzz; feroxbuster; dirsearch; dirbuster",
    "security inject": "sqlmap; commix; xsser; ghauri",
    "security crack": "hydra; medusa; john; hashcat; ncrack; patator; crackmapexec",
    "security find secrets": "gitleaks; trufflehog; detect-secrets; git-secrets --scan; noseyparker",
    "security analyse code": "semgrep; codeql; sonar-scanner; gosec; brakeman; snyk code test",
    "security scan host": "lynis; rkhunter; chkrootkit; clamscan; oscap; tripwire --check; aide --check; debsecan; "
    "freshclam",
    "security ban": "fail2ban-client set; cscli decisions add; fail2ban-client banip",
    "security selinux": "setenforce; getenforce; sestatus; setsebool; semanage; aa-enforce; aa-status; aa-complain",
    "net interfaces": "ip; ifconfig; ip addr; ip a; ip address; ip link; nmcli device; nmcli; iwconfig",
    "net routes": "ip route; route; netstat -r; ip r",
    "net capture": "tcpdump; tshark; wireshark; dumpcap; ngrep",
    "net load": "ab; wrk; hey; siege; k6 run; vegeta; bombardier; oha; locust; jmeter; artillery run",
    # machine
    "process list": "Get-Process; tasklist; pidstat; lsof -p; nvidia-smi; nvtop; jobs; ps; pgrep; top; htop; btop; "
    "pidof; glances; pstree; procs; atop; btm",
    "process stop": "taskkill; Stop-Process; tskill; kill; pkill; killall; fuser -k; xkill; skill",
    "process trace": "truss; ktrace; ftrace; uftrace; trace-cmd; bpftool; strace; ltrace; dtruss; bpftrace; sysdig; "
    "dtrace",
    "process profile": "perf script; hotspot; samply; gprof; vtune; instruments; asprof; heaptrack; "
    "valgrind --tool=massif; kcachegrind; go tool trace; perf top; perf; flamegraph; hyperfine",
    "disk usage": "df; du; ncdu; dust; duf; duc; gdu; pydf",
    "disk devices": "lsblk; fdisk -l; blkid; parted -l; parted --list; diskutil list; lsusb; lspci; sfdisk -l; lshw; "
    "findmnt; hdparm -I",
    "disk partition": "fdisk; parted; gdisk; sgdisk; cfdisk; sfdisk; diskutil partitionDisk; parted mklabel; "
    "parted mkpart",
    "disk format": "mkfs; mkswap; mke2fs; diskutil eraseDisk; mkfs.*; mkntfs; newfs",
    "disk wipe": "wipefs; dd; blkdiscard; shred /dev",
    "process fold stacks": "stackcollapse-perf.pl; stackcollapse.pl; inferno-collapse-perf; stackcollapse-perf",
    "process draw stacks": "flamegraph.pl; inferno-flamegraph; flamegraph-rs",
    "process record": "py-spy record; perf stat; cargo flamegraph; memray run; xctrace record",
    "process report": "perf annotate; pprof; go tool pprof; samply load; memray flamegraph; snakeviz",
    "disk create volume": "pvcreate; vgcreate; lvcreate; zpool create; zfs create; mdadm --create; "
    "btrfs subvolume create; cryptsetup luksFormat; mdadm -C; qemu-img create; losetup",
    "disk remove volume": "pvremove; vgremove; lvremove; zpool destroy; zfs destroy; mdadm --stop; "
    "btrfs subvolume delete; mdadm --zero-superblock; mdadm -S; losetup -d; parted rm; sgdisk -d; sgdisk -Z; "
    "sgdisk --zap-all",
    "disk list volume": "pvs; vgs; lvs; pvdisplay; vgdisplay; lvdisplay; zpool status; zpool list; zfs list; "
    "mdadm --detail; mdadm -D; btrfs subvolume list; pvscan; vgscan; zpool get; cryptsetup status",
    "disk shrink": "lvreduce; vgreduce; zpool remove; btrfs device remove",
    "disk unlock": "cryptsetup open; cryptsetup luksOpen; zfs load-key; veracrypt --mount",
    "disk lock": "cryptsetup close; cryptsetup luksClose; zfs unload-key; veracrypt --dismount",
    "disk snapshot": "zfs snapshot; btrfs subvolume snapshot; lvcreate -s; lvcreate --snapshot; snapper -c",
    "disk rollback": "zfs rollback; lvconvert --merge",
    "disk send": "zfs send; btrfs send",
    "disk receive": "zfs receive; zfs recv; btrfs receive",
    "disk attach": "zpool import; zpool add; zpool attach; mdadm --add; mdadm --assemble; vgchange -a; vgimport; "
    "btrfs device add",
    "disk detach": "zpool export; zpool detach; mdadm --fail; mdadm --remove; vgexport; zpool offline",
    "disk check": "fsck; e2fsck; xfs_repair; smartctl; badblocks; btrfs check; fsck.*; xfs_check; btrfs scrub",
    "disk grow": "zpool online -e; resize2fs; lvextend; growpart; xfs_growfs; lvresize; vgextend; "
    "btrfs filesystem resize; pvresize",
    "disk mount": "zfs mount; mount.nfs; udisksctl; bindfs; rclone mount; s3fs; mount; diskutil mount; sshfs; pmount; "
    "mount.*",
    "disk unmount": "zfs unmount; zfs umount; umount; udisksctl unmount; diskutil unmount; fusermount -u; "
    "diskutil eject; pumount; eject",
    "swap on": "swapon",
    "swap off": "swapoff",
    "memory usage": "free; vmstat; iostat; sar; mpstat; uptime; dstat; iotop; smem; numastat",
    "kernel load": "modprobe; insmod; kmod load",
    "kernel unload": "rmmod; modprobe -r",
    "kernel list": "lsmod; modinfo; sysctl",
    "cron edit": "at; batch; anacron; crontab; systemctl edit",
    "cron list": "crontab -l; atq; systemctl list-timers",
    "cron remove": "crontab -r; atrm",
    "users add": "useradd; adduser; groupadd; addgroup; dscl create; newusers",
    "users remove": "userdel; deluser; groupdel; delgroup",
    "users change": "groupmod; pw usermod; dseditgroup; net localgroup; usermod; gpasswd; chsh; chfn; adduser * *",
    "users password": "passwd; chpasswd; chage",
    "users lock": "chage -E; faillock --user; usermod --expiredate; passwd -l; usermod -L; usermod --lock; "
    "passwd --lock",
    "users unlock": "passwd -u; usermod -U; usermod --unlock; passwd --unlock",
    "users show": "lastb; lastlog; users; net user; id; whoami; groups; who; w; getent passwd; last; finger; "
    "getent group; lslogins",
    "firewall allow": "ufw limit; ufw route allow; firewall-cmd --add-rich-rule; firewall-cmd --add-source; "
    "ip6tables -A; firewall-cmd --add-forward-port; New-NetFirewallRule; netsh advfirewall firewall add; nft add; "
    "firewall-cmd --add-masquerade; firewall-cmd --add-port; firewall-cmd --add-service; iptables -A; nft add rule; "
    "iptables -I; iptables --append",
    "firewall deny": "ufw delete allow; firewall-cmd --remove-rich-rule; firewall-cmd --remove-source; iptables -F; "
    "iptables --delete; nft delete; nft flush; Remove-NetFirewallRule; netsh advfirewall firewall delete; "
    "iptables --flush; ip6tables -D; ufw delete; firewall-cmd --remove-port; firewall-cmd --remove-service; "
    "iptables -D; nft delete rule; ufw reject",
    "firewall enable": "pfctl -e; netsh advfirewall set; netfilter-persistent save",
    "firewall disable": "pfctl -d; ufw reset",
    "firewall status": "iptables --list; iptables-save; pfctl -s; Get-NetFirewallRule; firewall-cmd --list-ports; "
    "firewall-cmd --list-services; firewall-cmd --get-active-zones; ufw show; nft list table; "
    "firewall-cmd --list-all; iptables -L; nft list; firewall-cmd --state; iptables -S; nft list ruleset",
    "firewall reload": "firewall-cmd --reload; iptables-restore; nft -f; pfctl -f",
    "machine reboot": "reboot; shutdown -r; systemctl reboot; init 6",
    "machine off": "shutdown; poweroff; halt; systemctl poweroff; init 0",
    "machine about": "uname; hostnamectl; lsb_release; neofetch; sw_vers; lscpu; cat /etc/os-release; arch; nproc; "
    "date; hostname",
    # documents, media, pages
    "pages build": "hugo; mkdocs build; sphinx-build; eleventy; zola build; gatsby build; pelican; mdbook build; "
    "bundle exec jekyll build; docusaurus build; astro build",
    "pages serve": "hugo server; hugo serve; mkdocs serve; zola serve; mdbook serve; python -m http.server; php -S; "
    "http-server; serve; bundle exec jekyll serve; gatsby develop; docusaurus start",
    "document convert": "lilypond; groff; typst; marp; mmdc; dot; plantuml; pdftotext; ps2pdf; ebook-convert; pandoc; "
    "soffice; wkhtmltopdf; libreoffice; unoconv; weasyprint; typst compile; asciidoctor; latexmk; pdflatex; xelatex; "
    "lualatex; tectonic",
    "media convert": "lame; mencoder; gst-launch-1.0; mkvmerge; opusenc; flac; ffmpeg; avconv; handbrakecli; "
    "HandBrakeCLI; sox",
    "media inspect": "ffprobe; mediainfo; identify; exiftool",
    "image convert": "jpegoptim; pngquant; inkscape; rsvg-convert; avifenc; gifsicle; jpegtran; oxipng; convert; "
    "magick; mogrify; gm; sips; cwebp; optipng; vips",
    "document cut": "qpdf; pdftk; pdfunite; pdfseparate; mutool; pdfjam; gs",
    "dotfiles apply": "stow; chezmoi init; yadm clone; yadm bootstrap; rcup; dotbot; home-manager switch; "
    "chezmoi update; ./install.sh",
    "dotfiles remove": "stow -D; rcdn; stow --delete",
    "dotfiles add": "mkrc; stow --adopt",
    "mail send": "mail; sendmail; msmtp; swaks; mailx; mutt",
    # the shell itself
    "shell go": "cd; pushd; popd; z; zoxide; j",
    "shell print": "echo; printf; pwd",
    "shell set": "export; set; unset; alias; declare",
    "shell load": "source; .",
    "shell wait": "sleep; wait; watch",
    "shell clear": "clear; reset; cls; tput clear",
    "shell leave": "exit; logout; quit",
    "shell history": "history; fc; atuin",
    "mux attach": "tmux a; screen -r; tmux attach-session; screen -x",
    "mux new": "tmux new; tmux new-session; tmux; screen; zellij",
    "mux list": "screen -ls; tmux list-sessions; zellij list-sessions",
    "mux remove": "tmux kill-session; tmux kill-server; zellij kill-session; screen -X",
}  # fmt: skip
"""``"family verb object"`` -> commands that do this job, separated by ``;``. The longest match wins.

Listed is only what `FAMILIES` and `VERBS` would not read as the same by themselves.
"""

VERBS: Final[dict[str, str]] = {
    "remove": "rm remove delete del uninstall purge erase destroy drop autoremove unlink prune teardown rmi",
    "create": "create new mk make mkdir generate gen provision",
    "add": "add insert append",
    "attach": "attach assign",
    "detach": "detach unassign",
    "register": "register",
    "unregister": "unregister deregister",
    "subscribe": "subscribe follow",
    "unsubscribe": "unsubscribe unfollow",
    "join": "join",
    "leave": "leave",
    "grant": "grant authorize",
    "revoke": "revoke",
    "block": "block ban",
    "unblock": "unblock unban",
    "pin": "pin",
    "unpin": "unpin",
    "archive": "archive",
    "unarchive": "unarchive",
    "install": "install i require ensure",
    "list": "ls list get ps images tags branches lists dir",
    "show": "show describe inspect info view display cat head details",
    "status": "status st stat health is-active",
    "diff": "diff compare",
    "start": "start boot launch resume unpause",
    "stop": "stop halt kill shutdown terminate suspend pause abort cancel",
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
    "import": "import restore load extract",
    "close": "close",
    "reopen": "reopen open",
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
    ("install add create new env upgrade init keys certificate", "remove down"),
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
    ("create reopen merge", "close"),
    ("publish", "retract"),
    ("submit", "cancel"),
    ("grow", "shrink"),
    ("send put", "receive get"),
    ("snapshot", "restore rollback"),
    ("hold", "unhold"),
    ("connect", "disconnect"),
    ("warm", "clear"),
    ("config", "unset"),
    ("resume", "stop"),
    ("trust", "remove"),
    ("attach register subscribe join", "detach unregister unsubscribe leave"),
    ("grant", "revoke deny"),
    ("block", "unblock"),
    ("pin", "unpin"),
    ("archive", "unarchive"),
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
_RUNNERS_BY_WORD: Final = {first: tuple(r for r in _RUNNERS if r[0] == first) for first, *_ in _RUNNERS}

_INTERPRETERS: Final = {"py": "python", "js": "node", "mjs": "node", "rb": "ruby", "pl": "perl", "php": "php"}
"""Suffix of a script -> the program that runs it."""

_KNOWN: Final = [(job, item, item.partition(" ")[0]) for job, items in JOBS.items() for item in _items(items)]
"""Job, command and its first word."""

_LISTED: Final = frozenset(word for _, _, word in _KNOWN)
"""Programs that `JOBS` knows."""

_LEADING: Final = _WRAPPERS.union(_RUNNERS_BY_WORD, ("docker", "python"))
"""First words of a command whose program may be a later word."""

_SCRIPTS: Final = _words("manage.py setup.py")
"""Scripts that take sub-commands, which `JOBS` knows."""

_REMOTES: Final = _words("ssh mosh")
_CONTAINERS: Final = _words("docker podman nerdctl docker-compose kubectl oc")
_CARRIER_VALUES: Final = _words("-p -i -l -L -R -D -J -o -u -e -w -n -c -f --user --env --workdir --namespace --file")
_SHELLS: Final = _words("sh bash zsh fish ash dash tmux")
"""Programs that run a command elsewhere, their options that take a value, and what opens no more than a shell there."""

_METHODS: Final = {"POST": "create", "PUT": "create", "PATCH": "create", "DELETE": "remove"}
"""Methods of a request -> what they do."""

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
    "dc": "deployment", "project": "namespace", "auth": "", "account": "", "mr": "pr",
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
    effect : str
        The verb, or what the arguments make of it: an upload or a download of a copy, the method of a request.
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
    effect: str
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
    acts: list[Act] = []
    for tokens, fed in _segments(template):
        parts = _parts(tokens)
        while parts is not None and len(acts) < _MAX_TOKENS:
            acts.append(_act(parts, fed))
            parts = _parts(list(parts.carried)) if parts.carried else None
    if len(acts) > _MAX_ACTS:
        kept = sorted(range(len(acts)), key=lambda i: (-acts[i].weight, i))[:_MAX_ACTS]
        acts = [acts[i] for i in sorted(kept)]
    return tuple(acts) or (Act("", "", template.strip()[:64], "", "", False, (), False, 1.0),)


class _Parts(NamedTuple):
    """A simple command, taken apart."""

    program: str
    words: tuple[str, ...]
    flags: tuple[str, ...]
    rest: tuple[str, ...]
    carried: tuple[str, ...]
    """The tokens of a command that this one runs elsewhere."""


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
            runners = _RUNNERS_BY_WORD.get(token, ())
            length = next((len(r) for r in runners if tuple(tokens[at : at + len(r)]) == r), 0)
            if length and at + length < len(tokens):
                at += length
                while at < len(tokens) - 1 and tokens[at][0] in "-<":  # uv run --with <NAME> pytest
                    at += 1
                if tokens[at][0] != "<":
                    continue
                name, at = "python", at - 1  # uv run <FILE>
                break
            name = _name(token)
            if name not in _LISTED and (interpreter := _INTERPRETERS.get(name.rpartition(".")[2])):
                name, at = interpreter, at - 1  # ./manage.py
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
    arguments = tokens[at + 1 :]
    carried = _carried(name, arguments)
    for token in arguments[: len(arguments) - len(carried)]:
        script = token.rpartition("/")[2]
        if token[0] == "-" or token in _REDIRECTS:
            flags.append(token.partition("=")[0])
        elif not words and script in _SCRIPTS:
            words.append(script)
        elif not words and script.rpartition(".")[2] in _INTERPRETERS:
            rest.append("<FILE>")
        elif _WORD.match(token) or token == "*":
            words.append(token)
        else:
            rest.append(token)
    if name == "tar" and words and words[0] == arguments[0]:  # tar xzf
        flags.append(f"-{words.pop(0)}")
    return _Parts(name, tuple(words), tuple(flags), tuple(rest), tuple(carried))


def _carried(program: str, arguments: list[str]) -> list[str]:
    """Return the tokens of the command that ``ssh HOST``, ``docker exec NAME``, … run elsewhere; often none."""
    at = 0
    if program in _CONTAINERS:
        verb = next((a for a in arguments[:4] if a == "exec" or (a == "run" and program == "docker-compose")), None)
        if verb is None:
            return []
        at = arguments.index(verb) + 1
    elif program not in _REMOTES:
        return []
    if "--" in arguments[at:]:
        at = arguments.index("--", at)
    else:
        while at < len(arguments) and arguments[at][0] == "-":
            at += 2 if arguments[at] in _CARRIER_VALUES and arguments[at + 1 : at + 2] != ["--"] else 1
    found = arguments[at + 1 :]
    return found if found and _WORD.match(found[0]) and _name(found[0]) not in _SHELLS else []


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


def _commands_of() -> dict[str, list[tuple[str, str]]]:
    """Return the jobs and commands of each program."""
    table: dict[str, list[tuple[str, str]]] = {}
    for job, command, word in _KNOWN:
        program = _name(word)
        if program in _LEADING:
            parts = _parts(command.split())
            assert parts is not None, command
            program = parts.program
        table.setdefault(program, []).append((job, command))
    return table


@lru_cache(maxsize=1024)
def _rules(program: str) -> list[_Rule]:
    """Return the rules of a program; they are made when it is met, for that of all takes as long as a prediction."""
    rules = []
    for job, command in _COMMANDS_OF.get(program, ()):
        family, verb, *thing = job.split(" ", 2)
        parts = _parts(command.split())
        assert parts is not None, command
        rules.append(_Rule(parts.words, parts.flags, parts.rest, (family, verb, thing[0] if thing else "")))
    rules.sort(key=lambda r: (-len(r.words), -len(r.flags) - len(r.rest), -sum(map(len, r.flags))))
    return rules


_NAME_OF: Final = {name: program for program, names in ALIASES.items() for name in names.split()}
_FAMILY_OF: Final = {program: family for family, programs in FAMILIES.items() for program in programs.split()}
_VERB_OF: Final = {word: verb for verb, words in VERBS.items() for word in words.split()}
_COMMANDS_OF: Final = _commands_of()


def _job(parts: _Parts) -> tuple[tuple[str, str, str], int] | None:
    """Return the job of a command by `JOBS` and how many words name it."""
    for rule in _rules_of(parts.program, parts.words[0] if parts.words else ""):
        n = len(rule.words)
        if (
            n <= len(parts.words)
            and all(w in ("*", have) for w, have in zip(rule.words, parts.words, strict=False))
            and all(_has(flag, parts.flags) for flag in rule.flags)
            and all(item in parts.rest for item in rule.rest)
        ):
            return rule.job, n
    return None


@lru_cache(maxsize=4096)
def _rules_of(program: str, first: str) -> tuple[_Rule, ...]:
    """Return the rules of a program that its first word does not rule out: a few of the hundreds that `git` has."""
    if program not in _COMMANDS_OF and "." in program:
        program = f"{program.partition('.')[0]}.*"
    return tuple(rule for rule in _rules(program) if not rule.words or rule.words[0] in ("*", first))


def _verb(parts: _Parts, at: int) -> tuple[str, str, int]:
    """Return (verb, object, words used) of a command that `JOBS` does not know; `at` words are skipped."""
    words = parts.words[at : at + 3]
    if not words:
        script = parts.program.endswith(".sh")  # deploy.sh, run_tests.sh
        names = (*parts.flags, *(re.split(r"[-_.]", parts.program) if script else [parts.program]))
        return next((_VERB_OF[name] for name in names if name in _VERB_OF), ""), "", at
    first, _, more = words[0].replace(":", "-").partition("-")
    if len(words) > 1 and words[1] in _VERB_OF and f"{parts.program} {words[0]}" in GROUPS:  # dvc remote add
        return _VERB_OF[words[1]], _noun(words[0]), at + 2
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
    weight = 0.15 if parts.program in _LIGHT or parts.carried else 0.2 if fed and parts.program in _FILTERS else 1.0
    details = (*parts.flags, *parts.rest, *parts.words[used:])
    known = found is not None or parts.program in _FAMILY_OF
    return Act(parts.program, family, verb, thing, _effect(verb, parts), known, details, forced, weight)


def _effect(verb: str, parts: _Parts) -> str:
    """Return the verb, or what the arguments make of it."""
    if verb == "request":
        return next((_METHODS[word] for word in parts.words if word in _METHODS), verb)
    if verb == "copy":
        ends = ["<URL>" in item or "<HOST>" in item for item in parts.rest if item[0] != ":"]  # <HOST> :<FILE>
        if ends and ends[0] != ends[-1]:
            return "download" if ends[0] else "upload"
    return verb


@lru_cache(maxsize=1024)
def _takes_subcommands(program: str) -> bool:
    """Whether words after `program` are sub-commands rather than arguments."""
    return program in _FAMILY_OF or any(rule.words for rule in _rules(program))
