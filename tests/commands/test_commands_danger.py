"""Destructive commands: each rule with its example, seen through wrappers, and everyday commands left alone."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from procedural_memory.commands.danger import DANGER_RULES, DangerRule, is_destructive
from procedural_memory.commands.normalize import normalize

DESTRUCTIVE = r"""
rm -rf build
rm -r dir
rm -fr /tmp/x
rm --recursive dir
rm *
rm -f *.o
sudo rm -rf /var/x
cd a && rm -rf b
find . -name x | xargs rm -rf
xargs -n 1 rm -r < list
bash -c "rm -rf x"
sudo sh -c 'rm -rf x && ls'
ssh host 'rm -rf x'
ssh host rm -rf x
env A=1 git push -f
A=1 rm -r x
timeout 5 rm -r x
nohup rm -rf x &
docker exec -it web rm -rf /x
if true; then rm -rf x; fi
echo $(rm -rf x)
(cd a; rm -rf b)
rm -rf <FILE>
git reset --hard
git -C x reset --hard HEAD~1
git clean -fd
git push --force origin main
git push --force-with-lease
git push origin +main
git push origin :old
git checkout -- .
git checkout .
git restore a.py
git branch -D x
git stash drop
dd if=a of=/dev/sdb
sudo -u bob dd if=a of=b
mkfs.ext4 /dev/sdb1
echo x > /dev/sda
cat a.iso > /dev/nvme0n1
chmod -R 777 /
chown -R bob /etc
truncate -s 0 a.log
sudo shutdown -h now
reboot
kubectl delete pod x
kubectl -n prod delete deploy/web
helm uninstall web
terraform destroy -auto-approve
terraform -chdir=x destroy
docker system prune -af
docker volume rm data
docker rm -f web
docker compose down -v
aws s3 rm s3://b --recursive
aws ec2 terminate-instances --instance-ids i-1
gcloud compute instances delete x
DROP TABLE users;
drop database shop;
DELETE FROM users;
TRUNCATE TABLE users;
psql -c "DROP TABLE x"
cat a | mysql -e "drop database x"
sqlite3 a.db 'DELETE FROM t'
redis-cli flushall
dropdb shop
python manage.py flush
crontab -r
psql shop <<SQL⏎DROP TABLE a;⏎SQL
echo "DROP TABLE x" | psql
psql <<< "drop table x"
bash <<EOF⏎cd a⏎rm -rf b⏎EOF
ssh host <<EOF⏎git reset --hard⏎EOF
mysql -e "update users set role = 1"
ALTER TABLE users DROP COLUMN name;
> app.log
: > app.log
cat /dev/null > app.log
find . -name x | xargs rm
find . -print0 | xargs -0 rm -f
kubectl exec web -- rm -rf /x
npx rimraf dist
python -c "import shutil; shutil.rmtree('x')"
chmod -R 000 .
hg update --clean
svn revert -R .
redis-cli -n 1 flushdb
:(){ :|:& };:
python3.11 -c "import shutil; shutil.rmtree('x')"
ip6tables -F
kafka-topics.sh --delete --topic x
/sbin/mkfs.ext4 /dev/sdb1
mongosh --eval 'db.x.deleteMany({})'
REMOVE-ITEM x -Recurse
Rd /s build
k delete pod x
./bin/rails db:drop
./manage.py flush
rabbitmqctl reset; killall5
""".strip().split("\n")

HARMLESS = r"""
rm notes.txt
rm -f a.txt
rmdir empty
git rm a.py
npm rm x
ls > /dev/null
cmd 2> /dev/null
git add .
git push
git push origin main
git reset
git reset HEAD a.py
git clean -n
git checkout main
git checkout -b x
git restore --staged a.py
git branch -d x
git stash
git stash pop
git log --grep=reset
git commit -m "drop table x"
git commit -m "rm -rf all"
echo "rm -rf /"
echo rm -rf x
grep -rn "DROP TABLE" src
grep -r rm .
cat rm -rf
man rm
python rm.py -r
history | grep shutdown
vim reboot.md
sed -i s/a/b/ f
mkdir -p a
chmod -R 755 a
chmod +x a.sh
dd if=/dev/sda
docker ps
docker rm web
docker run --rm x
docker compose down
kubectl get pods
kubectl describe pod delete-me
helm list
terraform plan
aws s3 ls
npm run destroy
SELECT * FROM drops
DELETE FROM users WHERE id = 1;
cat <<EOF > a.sh⏎rm -rf x⏎EOF
truncate --help
truncate -s +1M a.img
ls /dev/sda
git clean -nfd
git clean --dry-run -fd
git push --dry-run --force
git commit -m "git reset --hard"
git log --grep "push --force"
redis-cli get flushall
kubectl delete --help
kubectl delete pod x --dry-run=client
kubectl exec web -- ls
rsync -avn --delete a b
UPDATE a SET b = 1 WHERE c = 2;
echo "DROP TABLE x" | tee notes.txt
cat <<EOF > a.sql⏎DROP TABLE x;⏎EOF
ls > out.txt
: > /dev/null
xargs ls
""".strip().split("\n")


@pytest.mark.parametrize("command", DESTRUCTIVE)
def test_destructive(command: str) -> None:
    """Each of these can lose data; its template says so too unless the danger is in what became a placeholder."""
    assert is_destructive(command.replace("⏎", "\n"))


@pytest.mark.parametrize("command", HARMLESS)
def test_harmless(command: str) -> None:
    """Everyday commands, and commands that only speak of dangerous ones, are not marked."""
    assert not is_destructive(command.replace("⏎", "\n"))


@pytest.mark.parametrize("rule", DANGER_RULES, ids=[rule.name for rule in DANGER_RULES])
def test_rule(rule: DangerRule) -> None:
    """Each rule finds its example and leaves its look-alike."""
    assert is_destructive(rule.example)
    assert not is_destructive(rule.look_alike)


@pytest.mark.parametrize(
    "command", ["rm -rf build", "git reset --hard HEAD~1", "sudo kubectl delete pod x", "git push --force"]
)
def test_templates_are_judged_too(command: str) -> None:
    """A candidate that is still a template carries the mark."""
    assert is_destructive(normalize(command))


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from([*DESTRUCTIVE, "|", "&&", "$(", ")", "'", '"', "\x00", "\ud800"]), max_size=6).map(
        " ".join
    )
)
def test_any_text_gets_an_answer(command: str) -> None:
    """No text raises."""
    assert is_destructive(command) in (True, False)


PARTS = [rule.example for rule in DANGER_RULES] + [rule.look_alike for rule in DANGER_RULES]
PARTS += ["cat <FILE>", "a > b.txt", "echo x 2>&1 rm", "sudo", ": > a.log", "echo drop table x", "'rm -rf' x", ""]
PARTS += ["# rm -rf x", "cat <<'EOF'", "EOF", "<<< x"]


@given(st.lists(st.tuples(st.sampled_from(PARTS), st.sampled_from([" && ", " | ", "; ", "\n", " ", " > ", "'"]))))
@example([("cat <<'EOF'", "\n"), ("rm -rf x", "")])
@settings(max_examples=400)
def test_plain_lines_are_judged_as_the_grammar_reads_them(parts: list[tuple[str, str]]) -> None:
    """What makes a line one that is not plain, and does nothing, changes no verdict."""
    line = "".join(part + between for part, between in parts)
    assert is_destructive(line) == is_destructive(f"true $(true); {line}")
