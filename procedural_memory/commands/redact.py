"""Secrets on command lines: every one becomes ``<SECRET>``.

Two layers. *Token rules* know what tokens of services look like: those of gitleaks (`secret_rules.json`, which
``benchmarks/refresh_secret_rules.py`` writes), and those here, which find more. *Place rules* know where a command line
carries a secret, whatever it looks like: ``--password X``, ``mysql -pX``, ``API_TOKEN=X``, ``https://user:X@host``.

Every rule looks at a text a bounded number of times, so time is linear: a repetition is bounded where others may begin
within it, and is not where nothing else can match what it took; so a secret may have any length. A rule is compiled
when the first text comes that it may match. Redacting twice changes nothing. This module needs the standard library
alone and imports nothing else of the package, so that a shell hook can redact before it stores.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, Final, NamedTuple, cast

__all__ = ["SECRET", "TOKEN_RULES", "TokenRule", "entropy", "redact"]

SECRET: Final = "<SECRET>"
"""What stands in the place of a secret."""


class _Lazy:
    """A regular expression that is compiled when it is first used: of all of them, few lines need more than some."""

    def __init__(self, source: str, flags: int) -> None:
        self._source = source
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        compiled = re.compile(self._source, self._flags)
        # From here on they are found without asking this.
        for method in ("search", "match", "fullmatch", "sub", "split", "findall", "finditer"):
            setattr(self, method, getattr(compiled, method))
        return getattr(compiled, name)


def _lazy(source: str, flags: int = 0) -> re.Pattern[str]:
    return cast("re.Pattern[str]", _Lazy(source, flags))


class TokenRule(NamedTuple):
    """What the tokens of one service look like.

    Attributes
    ----------
    name : str
    pattern : str
        A regular expression. When it has groups, as ``s``, only the one that matched is the secret.
    example : str
        Text that must match.
    look_alike : str
        Text that must not match.
    hint : str
        Words of three or more characters, in small letters, of which the text must hold one before the pattern is
        tried.
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
        rf"{_B}(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{{16}}{_E}",
        "AKIA" + "IOSFODNN7EXAMPLE",
        "AKIAFOO",
        "akia asia abia acca",
    ),
    TokenRule(
        "AWS secret access key",
        r"(?i:aws_?secret(?:_?access)?_?key['\"]?\s{0,4}[=:\s]\s{0,4}['\"]?)(?P<s>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+])",
        "AWS_SECRET_ACCESS_KEY=" + "/aB3" * 10,
        "AWS_SECRET_ACCESS_KEY=/run/secrets/aws",
        "secret",
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
        rf"{_B}github_pat_[A-Za-z0-9_]{{22,}}",
        "github_pat_" + "11AbCd_" * 6,
        "github_pat_x",
        "github_pat_",
    ),
    TokenRule(
        "GitLab token",
        rf"{_B}gl(?:pat|dt|rt|cbt|ptt|ft|soat)-[A-Za-z0-9_.-]{{20,}}",
        "glpat-" + "xY12" * 5,
        "glpat-x",
        "glpat- gldt- glrt- glcbt- glptt- glft- glsoat-",
    ),
    TokenRule(
        "Slack token", rf"{_B}xox[abeoprs]-[A-Za-z0-9-]{{10,}}", "xoxb-" + "123456789012-abcdefGHIJ", "xoxb-1", "xox"
    ),
    TokenRule(
        "Slack app token", rf"{_B}xapp-\d-[A-Za-z0-9-]{{10,}}", "xapp-1-" + "A012345-6789-abcdef", "xapp-a", "xapp-"
    ),
    TokenRule(
        "Slack webhook",
        r"hooks\.slack\.com/(?:services|workflows|triggers)/(?P<s>[A-Za-z0-9+/]{20,})",
        "https://hooks.slack.com/services/" + "T0000000/B0000000/" + "aB3d" * 6,
        "https://hooks.slack.com/services/",
        "hooks.slack.com",
    ),
    TokenRule(
        "Discord webhook",
        r"discord(?:app)?\.com/api/webhooks/\d{10,25}/(?P<s>[A-Za-z0-9_-]{30,})",
        "https://discord.com/api/webhooks/123456789012345678/" + "aB3_" * 16,
        "https://discord.com/api/webhooks/",
        "api/webhooks",
    ),
    TokenRule(
        "Stripe key",
        rf"{_B}(?:sk|rk|pk)_(?:live|test|prod)_[A-Za-z0-9]{{10,}}",
        "sk_live_" + "4eC39HqLyjWDarjt",
        "sk_live",
        "_live_ _test_ _prod_",
    ),
    TokenRule("Stripe webhook secret", rf"{_B}whsec_[A-Za-z0-9]{{24,}}", "whsec_" + "a1B2" * 8, "whsec_x", "whsec_"),
    TokenRule("Anthropic key", rf"{_B}sk-ant-[A-Za-z0-9_-]{{16,}}", "sk-ant-api03-" + "aB3-" * 8, "sk-ant", "sk-ant-"),
    TokenRule(
        "OpenAI key",
        rf"{_B}sk-(?:proj-|svcacct-|or-v1-|admin-)?[A-Za-z0-9_-]{{20,}}",
        "sk-proj-" + "aB3d" * 8,
        "sk-learn-contrib",
        "sk-",
    ),
    TokenRule("Google OAuth token", rf"{_B}ya29\.[A-Za-z0-9_-]{{20,}}", "ya29." + "a0Af" * 8, "ya29.x", "ya29."),
    TokenRule(
        "Google OAuth client secret",
        rf"{_B}GOCSPX-[A-Za-z0-9_-]{{20,}}",
        "GOCSPX-" + "aB3_" * 7,
        "GOCSPX-x",
        "gocspx-",
    ),
    TokenRule(
        "PyPI token", rf"{_B}pypi-[A-Za-z0-9_-]{{40,}}", "pypi-" + "AgEIcHlwaS5vcmcC" * 4, "pypi-server", "pypi-"
    ),
    TokenRule(
        "JSON web token",
        r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?",
        "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxIn0.abcDEF123_-",
        "eyJhbGciOi",
        "eyj",
    ),
    TokenRule(
        "private key block",
        # Up to its end, or to that of the text. A quote after the first line: it is only asked for.
        r"-{4,5} ?BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}"
        r"(?P<s>(?!['\"])(?:[^-]|-(?!-{3,4} ?END))+|[^-]+)",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----",
        "private",
    ),
    TokenRule(
        "key of PuTTY",
        r"Private-Lines:\s{0,4}\d{1,4}\s(?P<s>(?:[^P]|P(?!rivate-MAC))+)",
        "Private-Lines: 1\nAAAAgQDM\nPrivate-MAC: 00",
        "Private-Lines: none",
        "private-lines",
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
        "SendGrid key",
        rf"{_B}SG\.[A-Za-z0-9_-]{{16,32}}\.[A-Za-z0-9_-]{{32,}}",
        "SG." + "aB3_" * 5 + "aa." + "aB3_" * 11,
        "SG.x.y",
        "sg.",
    ),
    TokenRule("Mailgun key", rf"{_B}key-[0-9a-f]{{32}}{_E}", "key-" + "0123456789abcdef" * 2, "key-value", "key-"),
    TokenRule(
        "Telegram bot token",
        rf"(?:{_B}|(?<=/bot))\d{{8,10}}:AA[A-Za-z0-9_-]{{32,34}}{_E}",
        "123456789:" + "AA" + "aB3_" * 8 + "x",
        "12345678:AA",
        ":aa",
    ),
    TokenRule(
        "Docker Hub token", rf"{_B}dckr_pat_[A-Za-z0-9_-]{{20,}}", "dckr_pat_" + "aB3_" * 7, "dckr_pat", "dckr_pat_"
    ),
    TokenRule("xAI key", rf"{_B}xai-[A-Za-z0-9]{{60,100}}{_E}", "xai-" + "aB3d" * 20, "xai-sdk", "xai-"),
    TokenRule("OpenShift token", rf"{_B}sha256~[A-Za-z0-9_-]{{40,}}", "sha256~" + "aB3_" * 11, "sha256~x", "sha256~"),
    TokenRule("Vault token", rf"{_B}hv[sbr]\.[A-Za-z0-9_-]{{24,}}", "hvs." + "CAES" * 8, "hvs.x", "hvs. hvb. hvr."),
    TokenRule(
        "Notion token",
        rf"{_B}(?:secret_[A-Za-z0-9]{{43}}|ntn_[A-Za-z0-9]{{40,60}}){_E}",
        "ntn_" + "aB3d" * 11,
        "secret_key",
        "secret_ ntn_",
    ),
    TokenRule(
        "Grafana token", rf"{_B}(?:glsa|glc)_[A-Za-z0-9+/=_]{{32,}}", "glsa_" + "aB3d" * 10, "glsa_x", "glsa_ glc_"
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
        rf"{_B}tskey-[a-z]{{3,10}}-[A-Za-z0-9-]{{10,}}",
        "tskey-auth-" + "kAbC123CNTRL-xyz",
        "tskey-",
        "tskey-",
    ),
    TokenRule("Replicate token", rf"{_B}r8_[A-Za-z0-9]{{37,40}}{_E}", "r8_" + "aB3d" * 9 + "x", "r8_x", "r8_"),
    TokenRule("Groq key", rf"{_B}gsk_[A-Za-z0-9]{{40,60}}{_E}", "gsk_" + "aB3d" * 13, "gsk_x", "gsk_"),
    TokenRule("Atlassian token", rf"{_B}ATATT3[A-Za-z0-9_=-]{{40,}}", "ATATT3" + "xFfGF0_-" * 6, "ATATT3x", "atatt3"),
    TokenRule(
        "Fly token",
        rf"{_B}(?:fo1_[A-Za-z0-9_-]{{30,60}}|fm[12][ar]?_[A-Za-z0-9+/=_-]{{60,2000}})",
        "fo1_" + "aB3_" * 10,
        "fo1_x",
        "fo1_ fm1 fm2",
    ),
    TokenRule(
        "hash of a password",
        r"\$(?:[156]|y|gy|apr1)\$(?:rounds=\d{1,9}\$)?[./A-Za-z0-9$]{1,40}\$[./A-Za-z0-9+]{20,100}"
        r"|\$2[abxy]\$\d\d\$[./A-Za-z0-9]{53}",
        "usermod -p '$6$abcdefgh$" + "aB3/" * 21 + "'",
        "awk '{print $1$2}' $6$x",
        "$1$ $5$ $6$ $y$ $gy$ $apr1$ $2a$ $2b$ $2x$ $2y$",
    ),
    TokenRule(
        "key of a video stream",
        r"rtmps?://[^\s/'\"<>$]{1,200}/[\w-]{1,60}/(?P<s>[\w-]{8,200})",
        "rtmp://a.example.com/live/" + "abcd-efgh-1234",
        "rtmp://a.example.com/live",
        "rtmp:// rtmps://",
    ),
    TokenRule(
        "secret in a bearer or token header",
        r"(?i:\b(?:bearer|token)(?:\\?\s){1,4})(?P<s>(?=[^\s'\"$<]{0,400}[0-9])[A-Za-z0-9._~+/=-]{12,})",
        "Authorization: Bearer " + "abcdef0123456789",
        "Authorization: Bearer $TOKEN",
        "bearer token",
    ),
    TokenRule(
        "authorization header",
        r"(?i:authorization['\"]?\s{0,4}[:=](?:\\?\s){0,4}['\"]?(?:basic|bearer|bot|token|digest|api-?key|key|api-?token|pat|jwt|ssws|"
        r"negotiate)(?:\\?\s){1,4})(?P<s>(?!\$)[^\s'\"<`]{3,})",
        "Authorization: Basic " + "dXNlcjpwYXNz",
        "Authorization: Basic $BASIC",
        "authorization",
    ),
    TokenRule(
        "key header",
        r"(?i:(?<![:/\w-])(?:x-[a-z0-9-]{0,40}(?:key|token|secret)|(?:api-?key|auth-?token|access-?token|vault-token|"
        r"gitlab-token|private-token|amz-security-token))['\"]?\s{0,4}[:=](?:\\?\s){0,4}['\"]?)"
        r"(?P<s>(?![${])[^\s'\"<`]{3,})",
        "X-Api-Key: " + "abc123",
        "X-Api-Key: $KEY",
        "key token secret",
    ),
    TokenRule(
        "authorization header without scheme",
        r"(?i:\bauthorization\s{0,4}:(?:\\?\s){0,4})(?!(?i:basic|bearer|bot|token|digest|api-?key|key|api-?token|pat|jwt|ssws|negotiate|"
        r"aws4)\b)(?P<s>(?!\$)[^\s'\"<`]{8,})",
        "Authorization: " + "abcdef0123456789",
        "Authorization: $X",
        "authorization",
    ),
    TokenRule(
        "cookie with a session",
        r"(?i:\bcookie\s{0,4}:\s{0,4}[^'\"\n=;]{0,60}(?:sess|sid|auth|token|"
        r"jwt)[^'\"\n=;]{0,40}=)(?P<s>(?!\$)[^\s'\"<`;]{6,})",
        "Cookie: sessionid=" + "abcdef0123456789",
        "Cookie: lang=en",
        "cookie",
    ),
    TokenRule(
        "password in a URL",
        r"[A-Za-z][A-Za-z0-9+.-]{1,30}://[^\s/:@'\"<>]{0,200}:(?P<s>(?!\$)[^\s/'\"<>`]+)@",
        "https://user:" + "hunter2@example.com",
        "https://user@example.com:8080/x",
        "://",
    ),
    TokenRule(
        "token as the user of a URL",
        r"https?://(?P<s>[A-Za-z0-9_-]{20,})@",
        "https://" + "abcdefghij0123456789@github.com/x/y",
        "https://example.com/@user",
        "://",
    ),
    TokenRule(
        "secret in a query string",
        r"(?i:[?&](?:access_token|api_?key|apikey|token|auth|secret|client_secret|password|passwd|pwd|"
        r"sig|signature|x-amz-signature|x-amz-credential|x-amz-security-token|private_token|key)=)"
        r"(?P<s>(?!\$)[^\s&'\"<#`]{4,})",
        "https://x.y/z?api_key=" + "abc123",
        "https://x.y/z?keyword=abc123",
        "token= key= auth= secret= password= passwd= pwd= sig= signature= credential=",
    ),
    TokenRule(
        "password in a connection string",
        r"(?i:[;\s'\"](?:password|pwd|accountkey|sharedaccesskey)\s{0,2}=\s{0,2})(?P<s>(?!(?i:null|none|default)\b)[^;\s'\"$<`]{2,})(?=;)",
        "Server=x;User Id=sa;Password=" + "hunter2;",
        "Server=x;Database=y;",
        "password pwd key",
    ),
    TokenRule(
        "password in a netrc file",
        r"(?i:\blogin\s{1,8}\S{1,200}\s{1,8}password\s+)(?P<s>(?!\$)[^\s'\"<`]{2,})",
        "machine x.y login bob password " + "hunter2",
        "machine x.y login bob",
        "password",
    ),
    TokenRule(
        "token given to login",
        r"(?i:\b(?:login|auth|(?:add-)?authtoken)\s{1,4}(?:--\w{1,20}\s{1,4}){0,2})"
        r"(?P<s>(?=[A-Za-z_-]{0,200}\d)[A-Za-z0-9_-]{16,255})(?![\w.@:/-])",
        "wandb login " + "0123456789abcdef" * 2,
        "docker login 123456789012.dkr.ecr.us-east-1.amazonaws.com",
        "login auth",
    ),
    TokenRule(
        "secret in JSON",
        r"(?i:[\"'](?:[a-z0-9_-]{0,40}(?:password|passwd|secret|api_?key|access_?key|private_?key|"
        r"auth_?token|access_?token|refresh_?token|token|_pass)|pwd|pass)\\?[\"']\s*:\s*)"
        r"(?:\\[\"']([^\"'\\$<{][^\"'\\\n]*)"
        r"|\"(?!<|'[\"$]|\{[\w.{]*\}|\$(?:[A-Z_][A-Z0-9_]*|[a-z_]+|[{(][^\"]*)\")((?:'\"'\"'|[^\"\\\n]|\\[^\n])+)"
        r"|'(?![$<{])([^'\\\n]+))",
        '{"password": "' + 'hunter2"}',
        '{"tokens": 5}',
        "password passwd secret key token pwd pass",
    ),
)
"""Rules by what the secret looks like or by the text right before it."""

# A value is one word of the shell: quoted, escaped and bare parts side by side. When it is one quoted string, its
# quotes stay. In single quotes a `$` is a dollar sign; elsewhere what begins with a reference to a variable or to the
# output of a command is no secret, nor is what was redacted before.
#
# A repetition at the end of a value has no bound: what it took is not looked at again. Parts of a word begin with
# different signs, so that there is one way alone to read it, also when what must follow is not there.
_SIGNS: Final = r"""[^\s'"\\;|&()<>`]"""
_IN_DOUBLE: Final = r"""[^"\\]*(?:\\[\s\S][^"\\]*)*"""
# Right after a quote that ends an outer string stands one of these; a part of the same word begins otherwise. And no
# value begins with a blank: in `grep 'password=' f | sed 's/x/y/'` there is none.
_APART: Final = r"(?![\s;|&()<>,:}\]])"
_PART: Final = rf"""(?:\\[^\n]|'{_APART}[^']*'|"{_APART}{_IN_DOUBLE}"){_SIGNS}*"""
_GOES_ON: Final = r"""[\w\\$!#%^~=-]|['"][^\s;|&()<>,:}\]'"]"""
_REFERS: Final = r"[$`]|<SECRET>"
_SINGLE: Final = rf"'(?P<single>(?!\s)[^']+)'(?!{_GOES_ON})"
_DOUBLE: Final = rf"""\"(?P<double>(?!{_REFERS}|["\s]){_IN_DOUBLE})\"(?!{_GOES_ON})"""
_ESCAPED: Final = rf"""\\(?:"(?P<escaped>(?!{_REFERS})[^"\\]+)\\"|'(?P<escaped2>[^'\\]+)\\')"""
_BARE: Final = (
    rf"""(?P<bare>(?!\\?"(?:{_REFERS})|\\?'<SECRET>|\$(?!['"])|[<`|&;()\[{{-])"""
    rf"""(?:{_SIGNS}+|(?:\\[^\n]|'(?!\s)[^']*'|"(?!\s){_IN_DOUBLE}"){_SIGNS}*)(?:{_PART})*)"""
)
_VALUE: Final = f"(?:{_SINGLE}|{_DOUBLE}|{_ESCAPED}|{_BARE})"


def _value_after(place: str) -> str:
    """Return the pattern of a value with something before it in the same word, as in ``'bob:X'`` and ``bob:'X'``."""
    double = rf"""\"{place}(?P<double2>(?!{_REFERS}|"){_IN_DOUBLE})\""""
    return rf"(?:'{place}(?P<single2>[^']+)'|{double}|{place}{_VALUE})"


_SECRET_NAME: Final = _lazy(
    r"(?:passw(?:or)?d|passphrase|secret|api_?key|access_?key(?:_id)?|(?:private|secret)_?key|"
    r"(?:encryption|signing|master|auth|account)_?key|token"
    r"|credentials?|^tf_token_\w{1,80}|_pat|_?pwd|(?:^|_|[a-z])pass|_dsn|_auth|(?:^|_)pw|(?:^|[_.])auth_?token|sshpass|_authtoken)"
    r"(?:_?\d{1,3}|_(?:prod|dev|test|staging|id|value|base|base64|b64|hash))?$",
    re.IGNORECASE,
)
_SECRET_FLAG: Final = _lazy(
    r"(?:password|passwd|passphrase|token|(?:api|access|secret|account|auth|private|master|encryption)[-_]?key)$"
    r"|(?:(?:^|[-_.])|db|user|admin|root|smtp|mail)(?:pass|pwd|secret|secret-string|credentials?|creds|storepass|keypass|requirepass|masterauth|bearer|otp|"
    r"oauth2-bearer|pat|passin|passout)$",
    re.IGNORECASE,
)
# A name that may be a secret's; whether it is, its value must tell.
_KEY_NAME: Final = _lazy(r"(?!(?:\w*_)?(?:PUBLIC|PRIMARY|FOREIGN|SORT|PARTITION|CACHE|PUB)_KEY)[A-Z][A-Z0-9_]*_KEY")
_MIXED: Final = _lazy(r"(?=[^\d]*\d)(?=[^A-Za-z]*[A-Za-z])[\w+/=.-]{8,}", re.ASCII)
# These end like the name of a secret and are none.
_PLAIN_NAME: Final = _lazy(
    r"(?:^|[_-])(?:max|num|n|min|total|input|output|prompt|completion|new|pad|eos|bos|unk|mask|"
    r"sep|cls|stop|special|by|old)?[_-]?tokens$"
    r"|(?:pad|eos|bos|unk|mask|sep|cls|special|next|prev|page|continuation|starting|sync|stop|csrf)[-_]?token(?:_id)?$|(?:^|[._-])existing[-_]?secret$|^(?:no|skip|"
    r"without|disable|show|generate|random|ask|prompt-for)-"
    r"|^(?:bypass|compass|\w{0,20}_?bypass|encompass)$",
    re.IGNORECASE,
)
# What people write where a secret would stand.
_STAND_IN: Final = (
    r"<[\w -]{1,40}>|your[-_ ].*|.*[-_ ]here|x{3,}|[a-z_-]{0,20}\.{3}|"
    r"(?:change|replace)[-_ ]?(?:me|it|this)|replace[-_ ]?with.*|insert[-_ ].*|placeholder|todo"
)
_PLAIN_VALUE: Final = _lazy(
    rf"(?:{_STAND_IN}|(?:id|type|src|env)=.*|"
    r"true|false|yes|no|on|off|none|null|[01]|/(?:[\w.@~-]+/)+[\w.@~-]*|/[\w-]+\.[a-z]\w{0,5}|\.{1,2}/.*|~/.*|(?:file|env|fd|arn|"
    r"vault|op|ssm|secretsmanager):.*|\*+|\.{3}|prompt|stdin"
    r"|@(?:-|(?:[\w.-]*|~)/.*|[\w.-]+\.[a-z]\w{0,5})"  # programs read such a file
    r"|%\w+%|(?:%[sdq](?:\\?n|\W)?)+|%[({].*|\{\{.*\}\}|\{%.*%\}|\{[a-z_.]*\}|\[[a-z_ -]*\]"  # templates
    r"|[\[{]\s*[\"'\\].*)$",  # JSON, of which other rules know the parts
    re.IGNORECASE | re.DOTALL,
)

# A name in a piece of code, as in `f(token=auth_token)`.
_IDENTIFIER: Final = _lazy(r"[a-z_.]{0,60}(?:token|password|passwd|secret|key|credentials)[a-z_]{0,20}")

# `set -x NAME value` of fish, `setenv NAME value` of csh, `setx NAME value` of Windows, and alike.
_SET: Final = _lazy(
    rf"(?<![\w-])(?:set\s+-[A-Za-z]{{0,4}}x[A-Za-z]{{0,4}}|setenv|setx|Set-Item(?:\s-Path)?|env:set|user-secrets\sset|modify\s+[\w-]{{1,60}})"
    rf"\s+['\"]?(?:Env:)?(?P<name>[A-Za-z_][\w:.-]{{1,80}})['\"]?\s+(?:-Value\s+)?{_VALUE}"
)
# `os.environ["NAME"] = "value"`, `SetEnvironmentVariable('NAME', 'value')`, `password: 'value'`.
_IN_CODE: Final = _lazy(
    r"(?:\[['\"](?P<key>[\w.-]{2,80})['\"]\]\s{0,2}="
    r"|(?i:(?:set|put)\w{0,8}env\w{0,20}|setdefault)\(\s{0,2}['\"](?P<argument>[\w.-]{2,80})['\"]\s{0,2},"
    r"|(?<![\w.$-])(?P<name>[A-Za-z_][\w-]{1,80})\s{0,2}:)\s{0,2}"
    r"(?:\\?'(?P<single>[^'\n\\]+)\\?'|\\?\"(?P<double>(?![$`]|<SECRET>)[^\"\n\\]+)\\?\")"
)
# A line of YAML. A bare word there may be a type (`password: str`), hence the digit.
_YAML: Final = _lazy(
    r"^[ \t]{0,40}(?:- )?(?P<name>[A-Za-z_][\w.-]{1,80}):[ \t]{1,8}"
    r"(?P<bare>(?![$`<'\"|&;()\[{!*-])(?=[^\s\d]{0,200}\d)[^\s'\"`<>(\[{]{4,})[ \t]{0,8}$",
    re.MULTILINE,
)

_ASSIGNED: Final = _lazy(
    rf"""(?<![A-Za-z0-9_.$-])(?<!-from-file=)(?P<name>[A-Za-z_][A-Za-z0-9_.-]{{1,80}})(?:={_VALUE}|\s?=\s?(?:'(?P<single2>(?!\s)[^']+)'|"(?P<double2>(?!{_REFERS}|["\s]){_IN_DOUBLE})"))"""
)
# The same as one of a list: `A=x,B_PASSWORD=y`.
_LISTED: Final = _lazy(r"""(?<=,)(?P<name>[A-Za-z_][A-Za-z0-9_.-]{1,80})=(?P<bare>(?![$`<])[^\s'";|&()<>`,]+)""")
_FLAGGED: Final = _lazy(rf"(?<![\w-])--?(?P<name>[A-Za-z][A-Za-z0-9._-]{{1,60}})(?:=|(?:\s|\\\n)+){_VALUE}")


class _PlaceRule(NamedTuple):
    """Where the command line of some program carries a secret."""

    programs: str
    """Names of programs, ``|`` between."""
    place: str
    """Pattern of what precedes the value in the arguments."""
    value: str = _VALUE
    """Pattern of the value; a group says which part of it is the secret."""
    named: bool = False
    """Whether the place holds a hint of the name of a secret, so that a command without one need not be looked into."""


_PLACE_RULES: Final = (
    _PlaceRule("skopeo|buildah|podman", r"\s--(?:src-|dest-)?creds[=\s]\s*", _value_after("[^\\s:'\"|;&]{1,100}:")),
    _PlaceRule("mysql|mysqldump|mysqladmin|mysqlimport|mysqlshow|mariadb|mariadb-dump|mariadb-admin", r"\s-p"),
    _PlaceRule("sshpass", r"\s-p\s*"),
    _PlaceRule(
        "docker|podman|nerdctl|az|oc|helm|skopeo|buildah|crane|cf|argocd",
        r"(?<=\slogin)\s(?:[^|;&\n]{0,400}?\s)?-p\s*",
    ),
    _PlaceRule("redis-cli|valkey-cli|keydb-cli", r"\s(?:-a\s*|(?:AUTH|auth|(?i:requirepass|masterauth))\s+)"),
    # The first word may be the name of a user.
    _PlaceRule("redis-cli|valkey-cli|keydb-cli", r"\s(?:AUTH|auth)\s+[^\s'\"|;&]{1,100}\s+(?!\d?>)"),
    _PlaceRule("mongo|mongosh|mongodump|mongorestore|mongoexport|mongoimport", r"\s-p\s*"),
    _PlaceRule(
        "cqlsh|influx|rabbitmqadmin|"
        "psexec|twine|smbmap|crackmapexec|netexec|nxc|evil-winrm"
        "|hydra|medusa|az|mycli|clickhouse-client|cypher-shell|snowsql|exasol|tsql",
        r"\s-p\s+",
    ),
    _PlaceRule("sqlcmd|bcp|isql|osql", r"\s-P\s*"),
    _PlaceRule("mosquitto_pub|mosquitto_sub|ipmitool", r"\s-P\s+"),
    _PlaceRule("sqlplus|sqlldr|expdp|impdp|rman", r"\s['\"]?[\w$#]{1,40}/", r"(?P<bare>(?![$<'\"])[^\s@'\"|;&]+)"),
    _PlaceRule("ldapsearch|ldapadd|ldapmodify|ldapwhoami|ldapdelete|ldappasswd", r"\s-(?:w|s)\s+"),
    _PlaceRule("snmpwalk|snmpget|snmpset", r"\s-(?:A|X)\s+"),
    _PlaceRule("xfreerdp|xfreerdp3|wfreerdp|cmdkey", r"\s/p(?:ass(?:word)?)?:"),
    _PlaceRule("rdesktop|vncviewer|lftp", r"\s-p\s+"),
    _PlaceRule("lftp|ncftp", r"\s(?:-u|--user)\s*", _value_after(r"[^\s,'\"|;&]{1,100},")),
    _PlaceRule("openssl", r"\s-(?:pass|passin|passout|password|k)\s+", _value_after("pass:")),
    _PlaceRule("openssl", r"\spasswd\s+(?:-salt\s+[^\s|;&]{1,100}\s+|-(?!in\b|stdin\b)\w{1,20}\s+){0,4}"),
    _PlaceRule("security", r"\sadd-(?:generic|internet)-password\s[^|;&\n]{0,400}?-w\s+"),
    _PlaceRule("openssl", r"\s-[kK]\s+(?!pass:)"),
    _PlaceRule("plink|pscp|psftp|putty", r"\s-pw\s+"),
    _PlaceRule("ssh-keygen", r"\s-[NP]\s*"),
    _PlaceRule("pdftk", r"\s(?:user_pw|owner_pw|input_pw)\s+"),
    _PlaceRule("nmcli|rclone", r"\s(?:password|pass|psk|wifi-sec\.psk|secret_access_key|client_secret|token)\s+"),
    _PlaceRule("wpa_passphrase", r"\s(?:'[^']{1,80}'|\"[^\"]{1,80}\"|[^\s'\"]{1,80})\s+"),
    _PlaceRule("bw", r"\s(?:unlock|login\s+[^\s|;&]{1,100})\s+"),
    _PlaceRule("nuget|dotnet", r"\spush\s[^|;&\n]{0,300}?-k\s+"),
    _PlaceRule("netlify", r"\s--auth[=\s]\s*"),
    _PlaceRule("zip|unzip|zipcloak", r"\s-P\s+"),
    _PlaceRule("7z|7za|7zz|rar|unrar", r"\s-h?p(?=\S)"),
    _PlaceRule(
        "curl|http|https|httpie|xh|lynx|ab|wrk|hey|etcdctl|jenkins-cli.jar",
        r"\s(?:-[A-Za-z]{0,8}[uU]|--user|--proxy-user|-a|--?auth)(?:=|\s*)",
        _value_after(r"(?!\$env:)(?:\$\{\w{1,80}\}|[^\s:'\"/<>{}]{0,100}):(?!/)"),
    ),
    _PlaceRule(
        "curl",
        r"\s(?:-b|--cookie)(?:=|\s*)['\"]?(?:[^'\"\s=;]{1,60}=[^'\"\s;]{0,400};\s?){0,20}"
        r"(?i:[^'\"\s=;]{0,60}(?:sess|sid|auth|token|jwt)[^'\"\s=;]{0,40}=)",
        r"(?P<bare>(?![$<'\"`])[^\s'\"|;&]{4,})",
    ),
    _PlaceRule(
        "|".join(
            f"impacket-{name}|{name}.py"
            for name in ("psexec", "wmiexec", "smbexec", "atexec", "dcomexec", "secretsdump", "lookupsid")
        ),
        r"\s['\"]?[\w.-]{1,60}(?:/[\w.-]{1,60})?:",
        r"(?P<bare>(?![$<'\"`])[^\s@'\"|;&]+)(?=@)",
    ),
    _PlaceRule(
        "smbclient|rpcclient|smbget|wmic|winexe|net",
        r"\s(?:-U\s*|--user[=\s])",
        _value_after(r"[^\s%'\"|;&]{1,100}%"),
    ),
    _PlaceRule("mount|mount.cifs|sshfs|curlftpfs", r"[\s,=]pass(?:word)?=", r"(?P<bare>(?![$<'\"])[^\s,'\"|;&]+)"),
    _PlaceRule("htpasswd", r"\s-(?=[A-Za-z]{0,6}n)[A-Za-z]{0,6}b[A-Za-z]{0,6}\s+[^\s|;&]{1,100}\s+"),
    _PlaceRule("htpasswd", r"\s-[A-Za-z]{0,6}b[A-Za-z]{0,6}\s+[^\s|;&]{1,300}\s+[^\s|;&]{1,100}\s+"),
    _PlaceRule(
        "npm|pip|git|aws|gh|pulumi|yarn|composer|bundle|conda|gcloud",
        r"\s(?:set|config(?:\s+--\w{1,20})?|add|--secret)\s+[^\s=]{0,200}(?i:token|password|"
        r"passwd|_auth|secret|secret_?key|api_?key|access_key)[\w.-]{0,40}\s+",
        named=True,
    ),
    _PlaceRule("poetry", r"\s(?:pypi-token\.[\w.-]{1,80}|http-basic\.[\w.-]{1,80}\s+[\w.@-]{1,80})\s+"),
    _PlaceRule("composer", r"\s(?:http-basic|gitlab-token|github-oauth)\.[\w.-]{1,80}\s+(?:[\w.@-]{1,80}\s+)?(?!-)"),
    _PlaceRule("bundle", r"\sconfig\s+(?:set\s+)?(?:--\w{1,20}\s+)?[\w./:-]{1,100}\s+[\w.@-]{1,80}:"),
    _PlaceRule(
        "pulumi",
        r"\sconfig\s+set\s+(?=[^|;&\n]{0,400}--secret)(?:--\S{1,40}\s+){0,4}[^\s|;&]{1,100}\s+",
    ),
    _PlaceRule(
        "aws|az|llm",
        r"\s(?:put-parameter\s(?=[^|;&\n]{0,400}SecureString)|keyvault\ssecret\sset\s|keys\sset\s)"
        r"[^|;&\n]{0,400}?--value[=\s]\s*",
    ),
    _PlaceRule("printf", r"\s['\"]\w{0,40}(?:TOKEN|PASSWORD|SECRET|KEY)=%s(?:\\n)?['\"]\s+"),
    _PlaceRule("vault|bao", r"\s(?:login|unseal|wrapping\s+unwrap)\s+(?:-\S{1,80}\s+){0,4}(?![\w-]{1,40}=)"),
    _PlaceRule(
        "ansible-vault",
        r"\sencrypt_string\s+(?:--?[\w-]{1,40}(?:=|\s+)['\"]?[^\s'\"-]{1,100}['\"]?\s+){0,4}",
    ),
    _PlaceRule("consul|nomad", r"\sset-agent-token\s+(?:-\S{1,80}\s+){0,4}[\w-]{1,40}\s+"),
    _PlaceRule("neo4j-admin", r"\sset-initial-password\s+"),
    _PlaceRule("rclone", r"\sobscure\s+"),
    _PlaceRule("mc|mcli", r"\s(?:alias\s+set|config\s+host\s+add)\s+(?:[^\s|;&]{1,200}\s+){3}"),
    _PlaceRule("cloudflared", r"\s(?:service\s+install|--token)\s+"),
    _PlaceRule("influx|codecov|codecovcli|codecov.sh|doctl|hcloud|buildkite-agent", r"\s-t\s+(?=\S{20})"),
    _PlaceRule("net", r"\suse\s+[^|;&\n]{0,200}?\\\\[^\s|;&]{1,200}\s+(?:/user:[^\s|;&]{1,100}\s+)?(?!/)"),
    _PlaceRule("net", r"\suser\s+[^\s|;&/]{1,100}\s+(?=\S{1,200}\s+/add)"),
    _PlaceRule("ConvertTo-SecureString", r"\s(?:-String\s+)?"),
    _PlaceRule("usermod|useradd", r"\s(?:-p)\s+"),
    _PlaceRule("keytool|jarsigner|signtool", r"\s-(?:storepass|keypass|srcstorepass|deststorepass)\s+"),
    _PlaceRule("signtool", r"\s/p\s+"),
    _PlaceRule("gh|wrangler", r"\ssecret\s+(?:set|put)\s+[^|;&\n]{0,200}?(?:-b|--body)\s+"),
    _PlaceRule("rabbitmqctl", r"\s(?:add_user|change_password)\s+[^\s|;&]{1,100}\s+"),
)


def _programs(rules: Iterable[_PlaceRule]) -> frozenset[str]:
    """Return the names of the programs of some rules, as they are called here and on Windows."""
    names = {name for rule in rules for name in rule.programs.split("|")}
    return frozenset(names | {f"{name}.exe" for name in names})


_PROGRAMS: Final = _programs(_PLACE_RULES)
_UNNAMED: Final = _programs(rule for rule in _PLACE_RULES if not rule.named)
_PROGRAM_ENDS: Final = frozenset(name[-2:] for name in _PROGRAMS)


@cache
def _places_of(program: str) -> tuple[re.Pattern[str], ...]:
    """Return the patterns of a program."""
    name = program.removesuffix(".exe")
    rules = [rule for rule in _PLACE_RULES if name in rule.programs.split("|")]
    return tuple(re.compile(f"(?:{rule.place}){rule.value}") for rule in rules)


_PROGRAM: Final = _lazy(r"(?<![\w-])[A-Za-z0-9][\w.-]{0,30}(?=['\"]?\s)")
# Parts between the operators of a shell. What stands in quotes is not looked into.
_SEGMENT: Final = _lazy(r"""((?:'[^']*'|"[^"\\]*(?:\\.[^"\\]*)*"|\\.|[^|;&\n'"\\]+|['"\\])+)|([|;&\n]+)""", re.DOTALL)

# The message of a commit speaks of passwords, it does not give them. Tokens of a known look are found there too.
_PROSE: Final = _lazy(
    r"""(\bgit\s[^|;&\n'"]{0,200}?(?:\s-[a-z]{0,4}m\s*(?:'[^']*'|"[^"\\]*(?:\\.[^"\\]*)*"))+)""", re.DOTALL
)

_SAYS: Final = rf"(?<![\w-])(?:echo|printf|yes)\s+(?:-[neE]{{1,3}}\s+)?(?:['\"]?%s(?:\\n)?['\"]?\s+)?{_VALUE}"
_SPOKEN: Final = _lazy(rf"{_SAYS}(?=\s*$)")
_HERE_DOCUMENT: Final = _lazy(r"<<(?<!<<<)-?\s?(['\"]?)(?P<end>\w{1,40})\1")
# The same in quotes, as in `ssh h "echo x | sudo -S ls"`.
_PIPED: Final = _lazy(
    rf"{_SAYS}(?=\s*\|\s*(?:sudo\s(?:-\w{{1,5}}\s){{0,3}}-\w{{0,4}}S|[^|;&\n]{{0,200}}--password-stdin|(?:ch)?passwd\b))"
)
_LISTENS: Final = _lazy(
    r"--?password-stdin|--with-token|\bsudo\s(?:-\w{1,5}\s){0,3}(?:-\w{0,4}S|--stdin)|"
    r"--passphrase-fd|-pass(?:in)?\sstdin|\s--stdin\b|\bchpasswd\b|(?<!etc/)\bpasswd\b|\bsmbpasswd\b"
    r"|\bsecrets?\s(?:create|set|put|add|versions\sadd)\b|\bcryptsetup\b|--token-stdin|\blogin\b.{0,80}\s-\s*$|\bkinit\b|"
    r"\bvault\skv\sput\b|\bwrangler\ssecret\b|\bvercel\senv\sadd\b"
)
# `<<<` gives them a secret, whatever their options.
_TAKES: Final = _lazy(r"\b(?:docker|podman|gh|sudo|op|bw|rsync|pass|gopass|restic|secret-tool|ssh-add|vault)\s")
_HERE_STRING: Final = _lazy(rf"(?<!<)<<<\s*{_VALUE}")
_SQL_PASSWORD: Final = _lazy(
    r"\b(?:identified\s+(?:with\s+\w{1,40}\s+)?by|(?:with|encrypted|"
    r"set)\s+password(?:\s*for\s+\S{1,80})?|password(?=[\s=]))(?:\s*=)?\s*"
    r"(?:\\?'(?P<single>(?!\s)[^'\n\\]+)\\?'|\\?\"(?P<double>(?!\s)[^\"\n\\$]+)\\?\")",
    re.IGNORECASE,
)
_GROUPS: Final = ("single", "double", "bare", "single2", "double2", "escaped", "escaped2")

# Where a `$` is literal, what looks like the name of a variable is still taken for one: a text in single quotes may
# itself stand in double quotes.
_REFERENCE: Final = _lazy(r"\$(?:[A-Z_][A-Z0-9_]*|[a-z_]+|\w|env:\w+|\{.*\}|\(.*\))|`.*`", re.DOTALL)
_QUOTES: Final = _lazy(r"""\$?'([^']*)'|\$?"([^"\\]*(?:\\.[^"\\]*)*)"|\\(.)""", re.DOTALL)


# What people write where a token would stand.
_FILLER: Final = _lazy(rf"(?:(?:{_STAND_IN})$|[^\n]{{0,200}}?([xX*.])\1{{5}})", re.IGNORECASE)


def entropy(text: str) -> float:
    """Return how many bits of information a character of the text carries."""
    return -sum(count / len(text) * math.log2(count / len(text)) for count in Counter(text).values())


class _Finder:
    """A token rule at work; its pattern is compiled when a text comes that it may match."""

    __slots__ = ("_allowed", "_entropy", "_pattern", "_source", "_stop")

    def __init__(self, pattern: str, entropy: float = 0.0, allowed: str = "", stop: Iterable[str] = ()) -> None:
        self._source = pattern
        self._pattern: re.Pattern[str] | None = None
        self._entropy = entropy
        self._allowed = allowed
        self._stop = tuple(stop)

    def hide(self, text: str) -> str:
        if self._pattern is None:
            self._pattern = re.compile(self._source)
        return self._pattern.sub(self._replace, text)

    def _replace(self, match: re.Match[str]) -> str:
        group = next((number for number in range(1, match.re.groups + 1) if match.start(number) >= 0), 0)
        return match.group() if self._is_none(match.group(group)) else _without(match, group)

    def _is_none(self, secret: str) -> bool:
        if _FILLER.match(secret) or (self._entropy and entropy(secret) <= self._entropy):
            return True
        if self._stop and any(word in secret.lower() for word in self._stop):
            return True
        return bool(self._allowed) and re.search(self._allowed, secret) is not None


def _without(match: re.Match[str], group: int | str) -> str:
    """Return the match with a group of it redacted."""
    text, (start, end), offset = match.group(), match.span(group), match.start()
    return f"{text[: start - offset]}{SECRET}{text[end - offset :]}"


# What the words of a text tell of it, as bits: what may be found by its place, and above that the token rules. No
# keyword holds a blank, so what no word tells of is nowhere in the text. Few lines hold more than a few signs, most
# hold none.
_HINTED, _NAMED, _CODED, _SETS, _SQL, _SAYS_IT, _LISTENING, _GIT, _HERE, _RUNS, _RUNS_UNNAMED = (
    1 << bit for bit in range(11)
)
_FIRST_RULE: Final = 11
_LONG_WORD: Final = 80  # longer words hardly come again
_KNOWN_WORDS: Final = 16_384
_known_signs: Final[dict[int, int]] = {}
"""Hash of a word -> its signs: words may be secrets, which are not to stay in memory."""

_SIGNS_OF_PLACES: Final = {
    # Every name that is a secret's holds one of these, or "pw".
    _HINTED: ("pass", "otp", "secret", "token", "key", "cred", "auth", "dsn", "bearer", "pat"),
    _CODED: ("passw", "pwd", "secret", "token", "api", "cred"),
    _SQL: ("password", "identified"),
    _SAYS_IT: ("echo", "printf", "yes"),
    # All that `_LISTENS` and `_PIPED` find holds one of these.
    _LISTENING: ("pass", "with-token", "sudo", "stdin", "secret", "cryptsetup", "login", "kinit", "vault", "vercel"),
    _GIT: ("git",),
    _HERE: ("<<<",),
}


@cache
def _token_rules() -> tuple[tuple[Sequence[str], _Finder], ...]:
    """Return the token rules, each with its keywords."""
    import json

    with open(os.path.join(os.path.dirname(__file__), "secret_rules.json"), encoding="utf-8") as file:
        taken_over = json.load(file)["rules"]
    rules = [
        (rule["keywords"], _Finder(rule["pattern"], rule["entropy"], rule["allowed"], rule["stop"]))
        for rule in taken_over
    ]
    rules += [(rule.hint.split(), _Finder(rule.pattern)) for rule in TOKEN_RULES]
    return tuple(rules)


@cache
def _keywords() -> dict[str, list[tuple[str, int]]]:
    """Return all keywords by their first three characters, each with its sign."""
    signs = [(keyword, sign) for sign, keywords in _SIGNS_OF_PLACES.items() for keyword in keywords]
    for number, (keywords, _) in enumerate(_token_rules(), _FIRST_RULE):
        signs += [(keyword, 1 << number) for keyword in keywords]
    starts: dict[str, list[tuple[str, int]]] = {}
    for keyword, sign in signs:
        starts.setdefault(keyword[:3], []).append((keyword, sign))
    return starts


_NAME: Final = _lazy(r"[\w.-]+", re.ASCII)
_SETTERS: Final = ("set", "setenv", "setx", "set-item", "modify")
"""What the words end in that `_SET` finds before a name."""


def _may_be_secret(name: str) -> bool:
    """Return whether a name, with what may stand before it, is one of those that `_hide_named` does not pass over."""
    return bool(_SECRET_NAME.search(name) or _SECRET_FLAG.search(name) or name.endswith("_KEY"))


def _signs_in(word: str) -> int:
    """Return the signs in one word."""
    small = word.lower()
    keywords = _keywords()
    signs = _HINTED if "pw" in small else 0
    for start in keywords.keys() & map("".join, zip(small, small[1:], small[2:], strict=False)):
        for keyword, sign in keywords[start]:
            if keyword in small:
                signs |= sign
    # Where case does not matter an "ſ" is an "s", although no keyword of small letters holds one.
    if "ſ" in word or (signs & _HINTED and (not word.isascii() or any(map(_may_be_secret, _NAME.findall(word))))):
        signs |= _NAMED
    if small.endswith(_SETTERS):
        signs |= _SETS
    if word.rstrip("'\"")[-2:] in _PROGRAM_ENDS:
        for program in _PROGRAM.findall(f"{word} "):
            signs |= (program in _PROGRAMS and _RUNS) | (program in _UNNAMED and _RUNS_UNNAMED)
    return signs


def _signs(text: str) -> int:
    """Return the signs in a text."""
    signs, known = 0, _known_signs
    for word in text.split():
        key = hash(word)
        if (found := known.get(key)) is None:
            found = _signs_in(word)
            if len(word) <= _LONG_WORD:
                if len(known) >= _KNOWN_WORDS:
                    known.clear()
                known[key] = found
        signs |= found
    return signs


def _tokens(command: str, signs: int) -> str:
    """Apply the token rules of which the command holds a keyword, in their order."""
    rules = signs >> _FIRST_RULE
    while rules:
        _, finder = _token_rules()[(rules & -rules).bit_length() - 1]
        command = finder.hide(command)
        rules &= rules - 1
    return command


def _group(match: re.Match[str]) -> str:
    """Return the name of the group that holds the value, "" when there is none."""
    groups = match.re.groupindex
    return next((group for group in _GROUPS if group in groups and match.start(group) >= 0), "")


def _hide(match: re.Match[str]) -> str:
    """Return the match with its value redacted, or as it is when the value is no secret."""
    group = _group(match)
    if not group:
        return match.group()
    value = match.group(group)
    literal = group in ("single", "single2", "escaped2")
    if group == "bare" and not value.isalnum():
        literal = value.startswith(("'", "$'", "\\"))
        value = _QUOTES.sub(lambda part: part[1] or part[2] or part[3] or "", value)
    if not value or value.startswith(SECRET) or _PLAIN_VALUE.match(value.rstrip(",);")) or _FILLER.match(value):
        return match.group()
    if _REFERENCE.fullmatch(value) if literal else value.startswith(("$", "`")):
        return match.group()
    if group == "bare" and match.string.startswith("(", match.end(group)):  # a call in a piece of code
        return match.group()
    return _without(match, group)


def _is_argument(match: re.Match[str], name: str) -> bool:
    """Return whether a name in a piece of code is handed on, as in ``f(token=auth_token)``."""
    if _group(match) != "bare" or not name.islower():
        return False
    value = match.group("bare")
    ends = value.endswith(",") or match.string.startswith(")", match.end("bare"))
    return ends and _IDENTIFIER.fullmatch(value.rstrip(",")) is not None


def _hide_named(names: re.Pattern[str]) -> Callable[[re.Match[str]], str]:
    def replace(match: re.Match[str]) -> str:
        name = match.group("name") or match.group("key") or match.group("argument")
        if names.search(name):
            return match.group() if _PLAIN_NAME.search(name) or _is_argument(match, name) else _hide(match)
        if _KEY_NAME.fullmatch(name) and (group := _group(match)) and _MIXED.fullmatch(match.group(group)):
            return _hide(match)
        return match.group()

    return replace


_hide_assigned: Final = _hide_named(_SECRET_NAME)
_hide_option: Final = _hide_named(_SECRET_FLAG)


def _hide_flagged(match: re.Match[str]) -> str:
    start = match.start()
    if match.group("name") == "secret" and "gcloud" in match.string[max(0, start - 200) : start]:
        return match.group()  # there it names a secret
    return _hide_option(match)


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
        if "<<<" in segment and (_TAKES.search(segment) or _LISTENS.search(segment)):
            segment = _HERE_STRING.sub(_hide, segment)
        found: dict[str, int] = {}
        for match in _PROGRAM.finditer(segment):
            if match.group() in _PROGRAMS:
                found.setdefault(match.group(), match.end())
        for program, end in reversed(found.items()):  # the last one first: what is before it keeps its place
            for pattern in _places_of(program):
                segment = segment[:end] + pattern.sub(_hide, segment[end:])
        segments[place] = segment
    return "".join(segments)


def _here_documents(command: str) -> str:
    """Redact the text given to a command that reads a secret from its input."""
    parts, done = [], 0
    while found := _HERE_DOCUMENT.search(command, done):
        line, start = command.rfind("\n", 0, found.start()) + 1, command.find("\n", found.end()) + 1
        if not start:
            break
        parts.append(command[done:start])
        done = start
        if _LISTENS.search(command[line:start]):
            end = re.compile(rf"^[ \t]*{found['end']}$", re.MULTILINE).search(command, start)
            text = command[start : end.start() if end else len(command)].rstrip("\n")
            parts.append(SECRET if text and not text.startswith(("$", "`")) else text)
            done += len(text)
    return "".join(parts) + command[done:]


def _places(command: str, signs: int) -> str:
    """Apply the rules that know a secret by its place to a text with these signs."""
    given, hinted = command, signs & _HINTED
    if signs & _NAMED and hinted:
        if "=" in command:
            command = _ASSIGNED.sub(_hide_assigned, command)
            if "," in command:
                command = _LISTED.sub(_hide_assigned, command)
        if signs & _CODED:
            command = _IN_CODE.sub(_hide_assigned, command)
        if ": " in command and "\n" in command:
            command = _YAML.sub(_hide_assigned, command)
        if "-" in command:
            command = _FLAGGED.sub(_hide_flagged, command)
        if signs & _SETS:
            command = _SET.sub(_hide_assigned, command)
    if signs & _SQL:
        command = _SQL_PASSWORD.sub(_hide, command)
    if signs & _SAYS_IT and signs & _LISTENING and "|" in command:
        command = _PIPED.sub(_hide, command)
    if signs & _LISTENING and "<<" in command and "\n" in command:
        command = _here_documents(command)
    if command != given:
        signs = _signs(command)
    runs, programs = (_RUNS, _PROGRAMS) if hinted else (_RUNS_UNNAMED, _UNNAMED)
    if (
        (signs & runs and not programs.isdisjoint(_PROGRAM.findall(command)))
        or "<<<" in command
        or (signs & _LISTENING and "|" in command and _LISTENS.search(command))
    ):
        command = _place_rules(command)
    return command


def _once(command: str) -> str:
    signs = _signs(command)
    if not signs & ~(_GIT | _RUNS):
        return command
    hidden = _tokens(command, signs)
    if hidden != command:
        signs = _signs(hidden) | signs & _GIT
    if not signs & _GIT:
        return _places(hidden, signs)
    parts = _PROSE.split(hidden)
    return "".join(part if place % 2 else _places(part, _signs(part)) for place, part in enumerate(parts))


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
