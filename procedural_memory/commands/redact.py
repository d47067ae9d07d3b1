"""Secrets on command lines: every one becomes ``<SECRET>``.

Two layers. *Token rules* know what tokens of well-known services look like; each carries an example that must match
and a look-alike that must not, and a test holds them to it. *Place rules* know where a command line carries a secret,
whatever it looks like: ``--password X``, ``mysql -pX``, ``API_TOKEN=X``, ``https://user:X@host``.

Every rule looks at a text a bounded number of times: repetitions are bounded or cannot overlap, so time is linear.
Redacting twice changes nothing. This module needs the standard library alone and imports nothing else of the package,
so that a shell hook can redact before it stores.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

__all__ = ["SECRET", "TOKEN_RULES", "TokenRule", "redact"]

SECRET: Final = "<SECRET>"
"""What stands in the place of a secret."""


class TokenRule(NamedTuple):
    """What the tokens of one service look like.

    Attributes
    ----------
    name : str
    pattern : str
        A regular expression. When it has a group ``s``, only that group is the secret.
    example : str
        Text that must match.
    look_alike : str
        Text that must not match.
    hint : str
        Words, in small letters, of which the text must hold one before the pattern is tried.
    """

    name: str
    pattern: str
    example: str
    look_alike: str
    hint: str


# A token neither starts nor ends in the middle of a word.
_B: Final = r"(?<![A-Za-z0-9_])"
_E: Final = r"(?![A-Za-z0-9_])"

TOKEN_RULES: Final = (
    TokenRule(
        "AWS access key id",
        rf"{_B}(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{{16}}{_E}",
        "AKIA" + "IOSFODNN7EXAMPLE",
        "AKIAFOO",
        "akia asia abia acca",
    ),
    TokenRule(
        "GitHub token",
        rf"{_B}gh[pousr]_[A-Za-z0-9]{{36,255}}{_E}",
        "ghp_" + "a1B2" * 9,
        "ghp_short",
        "ghp_ gho_ ghu_ ghs_ ghr_",
    ),
    TokenRule(
        "GitHub fine-grained token",
        rf"{_B}github_pat_[A-Za-z0-9_]{{22,255}}",
        "github_pat_" + "11AbCd_" * 6,
        "github_pat_x",
        "github_pat_",
    ),
    TokenRule(
        "GitLab token",
        rf"{_B}gl(?:pat|dt|rt|cbt|ptt|ft|soat)-[A-Za-z0-9_.-]{{20,255}}",
        "glpat-" + "xY12" * 5,
        "glpat-x",
        "glpat- gldt- glrt- glcbt- glptt- glft- glsoat-",
    ),
    TokenRule(
        "Slack token", rf"{_B}xox[abeoprs]-[A-Za-z0-9-]{{10,255}}", "xoxb-" + "123456789012-abcdefGHIJ", "xoxb-1", "xox"
    ),
    TokenRule(
        "Slack app token", rf"{_B}xapp-\d-[A-Za-z0-9-]{{10,255}}", "xapp-1-" + "A012345-6789-abcdef", "xapp-a", "xapp-"
    ),
    TokenRule(
        "Slack webhook",
        r"hooks\.slack\.com/(?:services|workflows|triggers)/(?P<s>[A-Za-z0-9+/]{20,255})",
        "https://hooks.slack.com/services/" + "T0000000/B0000000/XXXXXXXXXXXXXXXXXXXXXXXX",
        "https://hooks.slack.com/services/",
        "hooks.slack.com",
    ),
    TokenRule(
        "Discord webhook",
        r"discord(?:app)?\.com/api/webhooks/\d{10,25}/(?P<s>[A-Za-z0-9_-]{30,255})",
        "https://discord.com/api/webhooks/123456789012345678/" + "aB3_" * 16,
        "https://discord.com/api/webhooks/",
        "api/webhooks",
    ),
    TokenRule(
        "Stripe key",
        rf"{_B}(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{{10,255}}",
        "sk_live_" + "4eC39HqLyjWDarjt",
        "sk_live",
        "_live_ _test_",
    ),
    TokenRule("Stripe webhook secret", rf"{_B}whsec_[A-Za-z0-9]{{24,255}}", "whsec_" + "a1B2" * 8, "whsec_x", "whsec_"),
    TokenRule(
        "Anthropic key", rf"{_B}sk-ant-[A-Za-z0-9_-]{{16,255}}", "sk-ant-api03-" + "aB3-" * 8, "sk-ant", "sk-ant-"
    ),
    TokenRule(
        "OpenAI key",
        rf"{_B}sk-(?:proj-|svcacct-|or-v1-|admin-)?[A-Za-z0-9_-]{{20,255}}",
        "sk-proj-" + "aB3d" * 8,
        "sk-learn-contrib",
        "sk-",
    ),
    TokenRule(
        "Google API key",
        rf"{_B}AIza[A-Za-z0-9_-]{{35}}",
        "AIza" + "SyA1234567890abcdefghijklmnopqrstuv_",
        "AIzaX",
        "aiza",
    ),
    TokenRule("Google OAuth token", rf"{_B}ya29\.[A-Za-z0-9_-]{{20,512}}", "ya29." + "a0Af" * 8, "ya29.x", "ya29."),
    TokenRule(
        "Google OAuth client secret",
        rf"{_B}GOCSPX-[A-Za-z0-9_-]{{20,64}}",
        "GOCSPX-" + "aB3_" * 7,
        "GOCSPX-x",
        "gocspx-",
    ),
    TokenRule("npm token", rf"{_B}npm_[A-Za-z0-9]{{36}}{_E}", "npm_" + "a1B2" * 9, "npm_config_registry", "npm_"),
    TokenRule(
        "PyPI token", rf"{_B}pypi-[A-Za-z0-9_-]{{40,512}}", "pypi-" + "AgEIcHlwaS5vcmcC" * 4, "pypi-server", "pypi-"
    ),
    TokenRule(
        "JSON web token",
        r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,2048}\.eyJ[A-Za-z0-9_-]{4,8192}(?:\.[A-Za-z0-9_-]{0,2048})?",
        "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxIn0.abcDEF123_-",
        "eyJhbGciOi",
        "eyj",
    ),
    TokenRule(
        "private key block",
        r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?P<s>[^-]{1,20000})",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----",
        "private",
    ),
    TokenRule(
        "age secret key",
        r"AGE-SECRET-KEY-1[A-Z0-9]{50,64}",
        "AGE-SECRET-KEY-1" + "QPZRY9X8GF" * 6,
        "age1ql3z7hjy54pw3hyww5ayyfg7z",
        "age-secret-key",
    ),
    TokenRule("Hugging Face token", rf"{_B}hf_[A-Za-z0-9]{{30,64}}{_E}", "hf_" + "aBcD1" * 7, "hf_hub_download", "hf_"),
    TokenRule(
        "DigitalOcean token",
        rf"{_B}do[opr]_v1_[a-f0-9]{{64}}{_E}",
        "dop_v1_" + "0123456789abcdef" * 4,
        "dop_v1_x",
        "_v1_",
    ),
    TokenRule(
        "Shopify token",
        rf"{_B}shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{{32}}{_E}",
        "shpat_" + "0123456789abcdef" * 2,
        "shpat_x",
        "shp",
    ),
    TokenRule(
        "SendGrid key",
        rf"{_B}SG\.[A-Za-z0-9_-]{{16,32}}\.[A-Za-z0-9_-]{{32,64}}",
        "SG." + "aB3_" * 5 + "aa." + "aB3_" * 11,
        "SG.x.y",
        "sg.",
    ),
    TokenRule("Mailgun key", rf"{_B}key-[0-9a-f]{{32}}{_E}", "key-" + "0123456789abcdef" * 2, "key-value", "key-"),
    TokenRule("Twilio key", rf"{_B}SK[0-9a-f]{{32}}{_E}", "SK" + "0123456789abcdef" * 2, "SKIP", "sk"),
    TokenRule(
        "Telegram bot token",
        rf"{_B}\d{{8,10}}:AA[A-Za-z0-9_-]{{32,34}}{_E}",
        "123456789:" + "AA" + "aB3_" * 8 + "x",
        "12345678:AA",
        ":aa",
    ),
    TokenRule("Databricks token", rf"{_B}dapi[a-f0-9]{{32}}{_E}", "dapi" + "0123456789abcdef" * 2, "dapi", "dapi"),
    TokenRule(
        "Docker Hub token", rf"{_B}dckr_pat_[A-Za-z0-9_-]{{20,64}}", "dckr_pat_" + "aB3_" * 7, "dckr_pat", "dckr_pat_"
    ),
    TokenRule("Vault token", rf"{_B}hv[sbr]\.[A-Za-z0-9_-]{{24,255}}", "hvs." + "CAES" * 8, "hvs.x", "hvs. hvb. hvr."),
    TokenRule(
        "Linear key", rf"{_B}lin_api_[A-Za-z0-9]{{32,64}}{_E}", "lin_api_" + "aB3d" * 10, "lin_api_x", "lin_api_"
    ),
    TokenRule(
        "Notion token",
        rf"{_B}(?:secret_[A-Za-z0-9]{{43}}|ntn_[A-Za-z0-9]{{40,60}}){_E}",
        "ntn_" + "aB3d" * 11,
        "secret_key",
        "secret_ ntn_",
    ),
    TokenRule(
        "Postman key",
        rf"{_B}PMAK-[a-f0-9]{{24}}-[a-f0-9]{{34}}{_E}",
        "PMAK-" + "abcdef01" * 3 + "-" + "ab" * 17,
        "PMAK-x",
        "pmak-",
    ),
    TokenRule(
        "Grafana token", rf"{_B}(?:glsa|glc)_[A-Za-z0-9+/=_]{{32,400}}", "glsa_" + "aB3d" * 10, "glsa_x", "glsa_ glc_"
    ),
    TokenRule("New Relic key", rf"{_B}NRAK-[A-Z0-9]{{27}}{_E}", "NRAK-" + "AB3" * 9, "NRAK-x", "nrak-"),
    TokenRule(
        "Square token",
        rf"{_B}(?:sq0atp|sq0csp|EAAA)[-A-Za-z0-9_]{{22,60}}{_E}",
        "sq0atp-" + "aB3_" * 6,
        "sq0atp-x",
        "sq0 eaaa",
    ),
    TokenRule(
        "Azure storage key",
        r"AccountKey=(?P<s>[A-Za-z0-9+/]{40,100}={0,2})",
        "AccountKey=" + "aB3/" * 21 + "aa==",
        "AccountKey=",
        "accountkey",
    ),
    TokenRule(
        "Tailscale key",
        rf"{_B}tskey-[a-z]{{3,10}}-[A-Za-z0-9-]{{10,100}}",
        "tskey-auth-" + "kAbC123CNTRL-xyz",
        "tskey-",
        "tskey-",
    ),
    TokenRule("Replicate token", rf"{_B}r8_[A-Za-z0-9]{{37,40}}{_E}", "r8_" + "aB3d" * 9 + "x", "r8_x", "r8_"),
    TokenRule("Groq key", rf"{_B}gsk_[A-Za-z0-9]{{40,60}}{_E}", "gsk_" + "aB3d" * 13, "gsk_x", "gsk_"),
    TokenRule(
        "Atlassian token", rf"{_B}ATATT3[A-Za-z0-9_=-]{{40,250}}", "ATATT3" + "xFfGF0_-" * 6, "ATATT3x", "atatt3"
    ),
    TokenRule(
        "Fly token",
        rf"{_B}(?:fo1_[A-Za-z0-9_-]{{30,60}}|fm[12][ar]?_[A-Za-z0-9+/=_-]{{60,2000}})",
        "fo1_" + "aB3_" * 10,
        "fo1_x",
        "fo1_ fm1 fm2",
    ),
    TokenRule(
        "secret in a bearer or token header",
        r"(?i:\b(?:bearer|token)\s{1,4})(?P<s>(?=[^\s'\"$<]{0,400}[0-9])[A-Za-z0-9._~+/=-]{12,4096})",
        "Authorization: Bearer " + "abcdef0123456789",
        "Authorization: Bearer $TOKEN",
        "bearer token",
    ),
    TokenRule(
        "authorization header",
        r"(?i:authorization\s{0,4}[:=]\s{0,4}(?:basic|bearer|token|digest|apikey|"
        r"negotiate)\s{1,4})(?P<s>[^\s'\"$<`]{3,4096})",
        "Authorization: Basic " + "dXNlcjpwYXNz",
        "Authorization: Basic $BASIC",
        "authorization",
    ),
    TokenRule(
        "key header",
        r"(?i:\b(?:x-)?(?:api-?key|auth-?token|access-?token|vault-token|gitlab-token|private-token|"
        r"secret|amz-security-token)\s{0,4}:\s{0,4})"
        r"(?P<s>[^\s'\"$<`{]{3,4096})",
        "X-Api-Key: " + "abc123",
        "X-Api-Key: $KEY",
        "key token secret",
    ),
    TokenRule(
        "authorization header without scheme",
        r"(?i:\bauthorization\s{0,4}:\s{0,4})(?!(?i:basic|bearer|token|digest|apikey|negotiate|"
        r"aws4)\b)(?P<s>[^\s'\"$<`]{8,4096})",
        "Authorization: " + "abcdef0123456789",
        "Authorization: $X",
        "authorization",
    ),
    TokenRule(
        "cookie with a session",
        r"(?i:\bcookie\s{0,4}:\s{0,4}[^'\"\n=;]{0,60}(?:sess|sid|auth|token|"
        r"jwt)[^'\"\n=;]{0,40}=)(?P<s>[^\s'\"$<`;]{6,4096})",
        "Cookie: sessionid=" + "abcdef0123456789",
        "Cookie: lang=en",
        "cookie",
    ),
    TokenRule(
        "password in a URL",
        r"[A-Za-z][A-Za-z0-9+.-]{1,30}://[^\s/:@'\"<>]{0,200}:(?P<s>[^\s/@'\"<>$]{1,400})@",
        "https://user:" + "hunter2@example.com",
        "https://user@example.com:8080/x",
        "://",
    ),
    TokenRule(
        "token as the user of a URL",
        r"https?://(?P<s>[A-Za-z0-9_-]{20,255})@",
        "https://" + "abcdefghij0123456789@github.com/x/y",
        "https://example.com/@user",
        "://",
    ),
    TokenRule(
        "secret in a query string",
        r"(?i:[?&](?:access_token|api_?key|apikey|token|auth|secret|client_secret|password|passwd|pwd|"
        r"sig|signature|x-amz-signature|x-amz-credential|x-amz-security-token|private_token|key)=)"
        r"(?P<s>[^\s&'\"$<#`]{4,2048})",
        "https://x.y/z?api_key=" + "abc123",
        "https://x.y/z?keyword=abc123",
        "? &",
    ),
    TokenRule(
        "password in a connection string",
        r"(?i:[;\s'\"](?:password|pwd|accountkey|sharedaccesskey)\s{0,2}=\s{0,2})(?P<s>[^;\s'\"$<`]{2,400})(?=;)",
        "Server=x;User Id=sa;Password=" + "hunter2;",
        "Server=x;Database=y;",
        "password pwd key",
    ),
    TokenRule(
        "secret in JSON",
        r"(?i:[\"'](?:[a-z0-9_-]{0,40}(?:password|passwd|secret|api_?key|access_?key|private_?key|"
        r"auth_?token|access_?token|refresh_?token|token)|pwd|pass)\\?[\"']\s{0,4}:\s{0,4}\\?[\"'])"
        r"(?P<s>[^\"'\\$<{][^\"'\\\n]{0,2000})",
        '{"password": "' + 'hunter2"}',
        '{"tokens": 5}',
        "password passwd secret key token pwd pass",
    ),
)
"""Rules by what the secret looks like or by the text right before it."""

# A value as it may stand on a command line: quoted, or up to the next blank. A reference to a variable or to the output
# of a command is no secret, nor is what was redacted before.
_QUOTED: Final = r"""'(?P<single>[^'\n]{1,4096})'|"(?P<double>(?![$`]|<SECRET>)[^"\n]{1,4096})\""""
_BARE: Final = r"""(?P<bare>(?![$`<'"|&;()\[{-])[^\s'";|&()<>`]{1,4096})"""
_VALUE: Final = f"(?:{_QUOTED}|{_BARE})"

_SECRET_NAME: Final = re.compile(
    r"(?:passw(?:or)?d|passphrase|secret|api_?key|access_?key(?:_id)?|(?:private|secret)_?key|"
    r"(?:encryption|signing|master|auth|account)_?key|token"
    r"|credentials?|_pat|_?pwd|(?:^|_|[a-z])pass|_dsn|_auth|(?:^|[_.])auth_?token|sshpass|_authtoken)"
    r"(?:_?\d{1,3}|_(?:prod|dev|test|staging|id|value|base64|b64|hash))?$",
    re.IGNORECASE,
)
_SECRET_FLAG: Final = re.compile(
    r"(?:^|-)(?:password|passwd|passphrase|pass|pwd|secret|token|api-?key|access-?key|secret-?key|"
    r"private-?key|auth-?token|credentials?"
    r"|storepass|keypass|master-?key|encryption-?key|requirepass|bearer|pat|passin|passout)$",
    re.IGNORECASE,
)
# These end like the name of a secret and are none.
_PLAIN_NAME: Final = re.compile(
    r"(?:^|[_-])(?:max|num|n|min|total|input|output|prompt|completion|new|pad|eos|bos|unk|mask|"
    r"sep|cls|stop|special|by|old)?[_-]?tokens$"
    r"|(?:pad|eos|bos|unk|mask|sep|cls|special|next|prev|stop|csrf)_?token(?:_id)?$|^(?:no|skip|"
    r"without|disable|show|generate|random|ask|prompt-for)-"
    r"|^(?:bypass|compass|\w{0,20}_?bypass|encompass)$",
    re.IGNORECASE,
)
_PLAIN_VALUE: Final = re.compile(
    r"(?:true|false|yes|no|on|off|none|null|[01]|/[\w./-]{2,}|\.{1,2}/.*|~/.*|(?:file|env|fd|arn|"
    r"vault|op|ssm|secretsmanager):.*|@.*|\*+|\.{3}|prompt|stdin"
    r"|%[\w(]\S*|\[.*|\{.*)$",
    re.IGNORECASE,
)

_ASSIGNED: Final = re.compile(
    rf"""(?<![A-Za-z0-9_.$-])(?P<name>[A-Za-z_][A-Za-z0-9_.-]{{1,80}})(?:={_VALUE}|\s?=\s?(?:'(?P<single2>[^'\n]{{1,4096}})'|"(?P<double2>(?![$`]|<SECRET>)[^"\n]{{1,4096}})"))"""
)
_FLAGGED: Final = re.compile(rf"(?<![\w-])--?(?P<name>[A-Za-z][A-Za-z0-9-]{{1,40}})(?:=|\s{{1,8}}){_VALUE}")


class _PlaceRule(NamedTuple):
    """Where the command line of some program carries a secret."""

    programs: str
    """Alternatives of a pattern for the program, or for a program and its sub-command."""
    place: str
    """Pattern of what precedes the value. A place of its own value pattern ends in a group ``bare``."""
    value: str = _VALUE


_PLACE_RULES: Final = (
    _PlaceRule("mysql|mysqldump|mysqladmin|mysqlimport|mysqlshow|mycli|mariadb|mariadb-dump|mariadb-admin", r"\s-p"),
    _PlaceRule("sshpass", r"\s-p\s{0,4}"),
    _PlaceRule(
        r"(?:docker|podman|nerdctl|az|oc|helm|skopeo|buildah|crane|cf|argocd)(?:\s\S{1,40}){0,2}\slogin", r"\s-p\s{0,4}"
    ),
    _PlaceRule("redis-cli|valkey-cli|keydb-cli", r"\s(?:-a\s{0,4}|AUTH\s{1,4}|auth\s{1,4})"),
    _PlaceRule(
        "mongo|mongosh|mongodump|mongorestore|mongoexport|mongoimport|cqlsh|influx|rabbitmqadmin|"
        "smbmap|crackmapexec|netexec|nxc|evil-winrm"
        "|hydra|medusa|az|clickhouse-client|cypher-shell|snowsql|exasol|tsql",
        r"\s-p\s{1,4}",
    ),
    _PlaceRule("sqlcmd|bcp|isql|osql", r"\s-P\s{0,4}"),
    _PlaceRule("ldapsearch|ldapadd|ldapmodify|ldapwhoami|ldapdelete|ldappasswd", r"\s-(?:w|s)\s{1,4}"),
    _PlaceRule("snmpwalk|snmpget|snmpset", r"\s-(?:A|X)\s{1,4}"),
    _PlaceRule("ipmitool", r"\s-P\s{1,4}"),
    _PlaceRule("xfreerdp|xfreerdp3|wfreerdp", r"\s/p:"),
    _PlaceRule("rdesktop|vncviewer|lftp", r"\s-p\s{1,4}"),
    _PlaceRule("openssl", r"\s-(?:pass|passin|passout|password|k)\s{1,4}['\"]?pass:"),
    _PlaceRule("openssl", r"\s-[kK]\s{1,4}(?!pass:)"),
    _PlaceRule("zip|unzip|zipcloak|wget", r"\s-P\s{1,4}"),
    _PlaceRule("7z|7za|7zz|rar|unrar", r"\s-h?p(?=\S)"),
    _PlaceRule(
        "curl|http|https|httpie|xh|lynx|ab|wrk|hey",
        r"\s(?:-[A-Za-z]{0,8}[uU]|--user|--proxy-user|-a|--auth)(?:=|\s{0,4})['\"]?(?!\$)[^\s:'\"/$<>]{0,100}:",
        r"(?P<bare>(?![/$<'\"`])[^\s'\"|;&]{1,400})",
    ),
    _PlaceRule(
        "smbclient|rpcclient|smbget|wmic|winexe|net",
        r"\s(?:-U\s{0,4}|--user[=\s])['\"]?[^\s%'\"$|;&]{1,100}%",
        r"(?P<bare>(?![$<])[^\s'\"|;&]{1,200})",
    ),
    _PlaceRule(
        "mount|mount.cifs|sshfs|curlftpfs", r"[\s,=]pass(?:word)?=", r"(?P<bare>(?![$<'\"])[^\s,'\"|;&]{1,200})"
    ),
    _PlaceRule("htpasswd", r"\s-[A-Za-z]{0,6}b[A-Za-z]{0,6}\s{1,4}[^\s|;&]{1,300}\s{1,4}[^\s|;&]{1,100}\s{1,4}"),
    _PlaceRule(
        "npm|pip|git|aws|gh|pulumi|yarn|composer|bundle|conda|gcloud",
        r"\s(?:set|config(?:\s{1,4}--\w{1,20})?|add|--secret)\s{1,4}[^\s=]{0,200}(?:token|password|"
        r"passwd|_auth|secret|secret_?key|api_?key|access_key)[\w.-]{0,40}\s{1,4}",
    ),
    _PlaceRule("poetry", r"\s(?:pypi-token\.[\w.-]{1,80}|http-basic\.[\w.-]{1,80}\s{1,4}[\w.@-]{1,80})\s{1,4}"),
    _PlaceRule("vault", r"\slogin\s{1,4}(?:-\S{1,80}\s{1,4}){0,4}"),
    _PlaceRule("setx", r"\s\S{0,80}(?:TOKEN|PASSWORD|SECRET|KEY)\s{1,4}"),
    _PlaceRule("net", r"\suser\s{1,4}[^\s|;&/]{1,100}\s{1,4}(?=\S{1,200}\s{1,4}/add)"),
    _PlaceRule("ConvertTo-SecureString", r"\s(?:-String\s{1,4})?"),
    _PlaceRule("passwd|chpasswd|docker|podman|gh|sudo|kinit", r"[^<]<<<\s{0,4}"),
    _PlaceRule("usermod|useradd", r"\s(?:-p)\s{1,4}"),
    _PlaceRule("keytool|jarsigner|signtool", r"\s-(?:storepass|keypass|srcstorepass|deststorepass)\s{1,4}"),
    _PlaceRule("signtool", r"\s/p\s{1,4}"),
    _PlaceRule("gh|wrangler", r"\ssecret\s{1,4}(?:set|put)\s{1,4}[^|;&\n]{0,200}?(?:-b|--body)\s{1,4}"),
    _PlaceRule("rabbitmqctl", r"\s(?:add_user|change_password)\s{1,4}[^\s|;&]{1,100}\s{1,4}"),
)
_COMPILED_PLACES: Final = tuple(
    (
        re.compile(rf"(?<![\w-])(?:{rule.programs})(?=\s)"),
        re.compile(f"(?:{rule.place}){rule.value}"),
    )
    for rule in _PLACE_RULES
)
_ANY_PROGRAM: Final = re.compile(rf"(?<![\w-])(?:{'|'.join(rule.programs for rule in _PLACE_RULES)})(?=\s)")
# Parts between the operators of a shell. What stands in quotes is not looked into.
_SEGMENT: Final = re.compile(
    r"""((?:'[^'\n]{0,4096}'|"(?:[^"\\\n]|\\.){0,4096}"|\\.|[^|;&\n'"\\]+|['"\\])+)|([|;&\n]+)""", re.DOTALL
)

_SPOKEN: Final = re.compile(
    rf"(?<![\w-])(?:echo|"
    rf"printf)\s{{1,4}}(?:-[neE]{{1,3}}\s{{1,4}})?(?:['\"]?%s(?:\\n)?['\"]?\s{{1,4}})?{_VALUE}(?=\s*$)"
)
_LISTENS: Final = re.compile(
    r"--?password-stdin|--with-token|\bsudo\s(?:-\w{1,5}\s){0,3}(?:-\w{0,4}S|--stdin)|"
    r"--passphrase-fd|-pass(?:in)?\sstdin|\s--stdin\b|\bchpasswd\b|\bpasswd\b|\bsmbpasswd\b"
    r"|\bsecret\s(?:create|set)\b|\bcryptsetup\b|--token-stdin|\blogin\b.{0,80}\s-\s*$|\bkinit\b|"
    r"\bvault\skv\sput\b|\bwrangler\ssecret\b|\bvercel\senv\sadd\b"
)
_SQL_PASSWORD: Final = re.compile(
    r"\b(?:identified\s{1,4}(?:with\s{1,4}\w{1,40}\s{1,4})?by|(?:with|encrypted|"
    r"set)\s{1,4}password(?:\s{0,4}for\s{1,4}\S{1,80})?|password(?=[\s=]))\s{0,4}=?\s{0,4}"
    r"(?:\\?'(?P<single>[^'\n\\]{1,400})\\?'|\\?\"(?P<double>[^\"\n\\$]{1,400})\\?\")",
    re.IGNORECASE,
)
_GROUPS: Final = ("single", "double", "bare", "single2", "double2")


def _token_replacement(pattern: re.Pattern[str]) -> Callable[[re.Match[str]], str]:
    if "s" not in pattern.groupindex:
        return lambda match: SECRET

    def replace(match: re.Match[str]) -> str:
        text, (start, end), offset = match.group(), match.span("s"), match.start()
        return f"{text[: start - offset]}{SECRET}{text[end - offset :]}"

    return replace


_TOKENS: Final = tuple(
    (tuple(rule.hint.split()), pattern, _token_replacement(pattern))
    for rule, pattern in ((rule, re.compile(rule.pattern)) for rule in TOKEN_RULES)
)


def _hide(match: re.Match[str]) -> str:
    """Return the match with its value redacted, or as it is when the value is no secret."""
    groups = match.re.groupindex
    for group in _GROUPS:
        if group in groups and match.start(group) >= 0:
            break
    else:
        return match.group()
    value, (start, end) = match.group(group), match.span(group)
    if value.startswith(("$", "`", SECRET)) or _PLAIN_VALUE.match(value.rstrip(",);")):
        return match.group()
    if group == "bare" and match.string.startswith("(", end):  # a call in a piece of code
        return match.group()
    text, offset = match.group(), match.start()
    return f"{text[: start - offset]}{SECRET}{text[end - offset :]}"


def _hide_named(names: re.Pattern[str]) -> Callable[[re.Match[str]], str]:
    def replace(match: re.Match[str]) -> str:
        name = match.group("name")
        if names.search(name) and not _PLAIN_NAME.search(name):
            return _hide(match)
        return match.group()

    return replace


_hide_assigned: Final = _hide_named(_SECRET_NAME)
_hide_flagged: Final = _hide_named(_SECRET_FLAG)


def _place_rules(command: str) -> str:
    """Apply the rules of the programs, each to the simple commands that run one of its programs."""
    segments = [match.group() for match in _SEGMENT.finditer(command)]
    if sum(map(len, segments)) != len(command):  # never so; the text must not lose a character
        return command
    listens = False  # a later part of the same pipeline reads a secret from its input
    for place in range(len(segments) - 1, -1, -1):
        segment = segments[place]
        if segment[0] in "|;&\n":
            if segment != "|":
                listens = False
            continue
        if listens:
            segment = _SPOKEN.sub(_hide, segment)
        listens = listens or _LISTENS.search(segment) is not None
        if _ANY_PROGRAM.search(segment):
            for program, value in _COMPILED_PLACES:
                if found := program.search(segment):
                    segment = segment[: found.end()] + value.sub(_hide, segment[found.end() :])
        segments[place] = segment
    return "".join(segments)


def _once(command: str) -> str:
    small = command.lower()
    for hints, pattern, replace in _TOKENS:
        for hint in hints:
            if hint in small:
                command = pattern.sub(replace, command)
                break
    if "=" in command:
        command = _ASSIGNED.sub(_hide_assigned, command)
    if "-" in command:
        command = _FLAGGED.sub(_hide_flagged, command)
    if "password" in small or "identified" in small:
        command = _SQL_PASSWORD.sub(_hide, command)
    if _ANY_PROGRAM.search(command) or "|" in command:
        command = _place_rules(command)
    return command


def redact(command: str) -> str:
    """Return the command with every secret found in it replaced by ``<SECRET>``.

    Linear in the length of `command`, and idempotent: what is redacted stays as it is. A reference such as ``$TOKEN``
    or ``--password-file f`` is no secret.
    """
    for _ in range(8):
        redacted = _once(command)
        if redacted == command:
            break
        command = redacted
    return command
