"""Patterns of values that are no secrets, and of names that no secret has. Each says why it exists.

All are verbose expressions: blanks count only in brackets. Each repeat has one way to match, or a long value would take
exponential time; tests/detect/test_steps.py counts the steps.
"""

from __future__ import annotations

import string

from auditor.core.expression import Expression

# Values that a person is meant to replace.
PLACEHOLDER = Expression(
    r"""(?ix)^(?:
    <.*>|\[.*\]|\(.*\)|\{.*\}|%.*%|@[\w.-]+@|__.*__|   # in the brackets of a template
    your.*|
    # An instruction: "enter password", "put-token-here".
    (?:my|the|an?|some|insert|enter|put|replace|add|fill|type|use|set|paste|provide|specify)[ _.-]
    [a-z](?:[ _.-]?[a-z])*[ _.-]?|
    .*(?:
        change[ _.-]?(?:me|this|it)(?![a-z])|replace[ _.-]?(?:me|this|with)|(?:goes|is)[ _.-]here|[ _.-]here$|
        redacted|place-?holder|example|dummy|sample|foobar|lorem|fixme|not[ _.-]?set|
        x{5,}|\*{3,}|\.{3}|…|                           # filled up or left out
        deadbeef|cafebabe|                              # "random" hexadecimal of programmers
        (?:my|your|some)[ _.-]?(?:super[ _.-]?)?(?:secret|password|passwd|pass|token|key|api)|
        (?:secret|password|token|key)[ _.-]?(?:value|string|text|name|goes)
    ).*)$"""
)

# Names for a password instead of one: dbPassword, admin_pass, my-secret.
PASSWORD_NAME = Expression(
    r"""(?ix)^(?:
    my|your|the|new|old|db|database|proxy|repo|user|root|admin|app|test|client|server|ftp|mail|smtp|ldap|some|demo|
    super|top|very|store|key|keystore|truststore|mysql|postgres|redis|mongo|default|temp|local|dev|bind|master|api|git|web|
    really|secure|strong|super|default|fake|dummy|sample
    )?[_.-]?(?:pass(?:word|wd|phrase|code)?|pwd?|secret|token|key)s?(?:[_.-]?\d{1,3})?$"""
)

# Runs of the keyboard and the alphabet, typed where any value would do.
SEQUENCE = Expression(r"(?ix) 0?12345\d* | abcd[a-z]* | qwerty\w* | asdf\w* | aaaa+ | xxx+ | 0000+ | 1111+")

# Values that a template engine fills in.
TEMPLATE = Expression(r"(?xs) \{.*\} | <.*> | \$\{.*\} ")

# Alphabets in order, in capitals. A part of one, such as ABCDEFGH or 12345678, is typed by hand.
ALPHABETS = (
    string.ascii_uppercase * 2 + string.digits + "+/",
    string.digits + string.ascii_uppercase * 2 + "+/",
    (string.digits + string.ascii_uppercase) * 2,
    string.digits * 2,
    string.hexdigits.upper() * 2,
    string.ascii_uppercase + "=/",
)

# Tokens and passwords printed in standards, repeated in every client library.
PUBLISHED = Expression(
    r"""(?x)
    2YotnFZFEjr1zCsicMWpAA|tGzv3JOkF0XG5Qx2TlKWIA|czZCaGRSa3F0MzpnWDFmQmF0M2JW|gX1fBatbtTVoNc|gX1fBat3bV|  # RFC 6749
    SplxlOBeZQQYbYS6WxSbIA|mF_9\.B5f-4\.1JqM|                                                # RFC 6749, RFC 6750
    kd94hf93k423kf44|kkk9d7dh3k39sjv7|nnch734d00sl2jdk|pfkkdhi9sl3r4s00|ad180jjd733klru7|dpf43f3p2l4k3l03|  # RFC 5849
    QWxhZGRpbjpvcGVuIHNlc2FtZQ|                                                              # RFC 7617
    SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c|                                             # jwt.io
    dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk|                                             # RFC 7519
    45ghiukldjahdnhzdauz|0685bd9184jfhq22|lsdkfol23w54jlksdef|qwe089234lkjsdf|               # OpenID, OAuth guides
    wJalrXUtnFEMI                                                                            # AWS documentation
    """
)

# Variables, templates and lookups, resolved when a program runs.
REFERENCE = Expression(
    r"""(?x)
    ^\\?\$[{(A-Za-z_]|\{[a-z_]\w*\}|\{\w+:\w+\}|\$\{[\w.:-]+|\$\([a-z]|           # shell, format strings, Spring
    ^%24(?:%7B|[A-Za-z_])|%7B%7B|                                                 # the same, URL-encoded
    \{\{|\}\}|<%|%>|\#\{|%\([a-z_]+\)|^%[\w.-]+%$|                                # Jinja, ERB, Ruby, Python, Windows
    ^!(?:Ref|Sub|GetAtt|vault)|^&[a-z_]+$|^ENC\[|                                 # CloudFormation, Ansible, YAML, SOPS
    ^(?:env|vault|secret|ssm|file|arn|op|awssm|gcpsm|kms|keyring|ref|data|var|local|module|cmd|exec|sm|pass|bws)[:.][\w/]|
    (?i:os\.environ|getenv|process\.env|\bgetpass\b|environ\[|config\.get|system\.getproperty|prompt\()"""
)
# A function call; a reference where its name reads like words.
CALL = Expression(r"^[@!]?([A-Za-z_][\w.]*)\(")
# Attributes of an object: self.password, config->token, options?.key.
ATTRIBUTE_CHAIN = Expression(r"(?x)^[&*!@$]?[A-Za-z_$][\w$]*(?:(?:\.|->|::|\?\.)[A-Za-z_$][\w$]*)*;?$")

# Values with a structure of their own, which is not that of a secret.
PATH = Expression(
    r"""(?x)
    ^(?:~|\.{1,2})?/?(?:[\w.@+-]+/)+[\w.@+-]*$|^/[\w.@+-]+$|^[A-Za-z]:\\|^file:|
    ^[\w./-]+\.(?:pem|crt|cer|key|json|ya?ml|txt|conf|cfg|ini|py|js|ts|go|java|php|rb|html?|css|png|svg|sh|so|md|xml|
    pub|p12|jks|env|gpg|asc|log|sock|service)$"""
)
URL = Expression(
    r"""(?ix)
    ^[a-z][a-z0-9+.-]*://[^@\s]*$|              # without a login
    ^[\w-]+(?:\.[\w-]+){1,4}:\d{2,5}(?:/|$)     # host:port"""
)
# Quotes in HTML, in escaped JSON, and of Perl, Ruby and Lua.
OTHER_QUOTE = Expression(r"(?:&quot;|u0022|(?:\bqq?|~s)[({\[|]|\[\[|\{\|)$")
# A comma between two strings, and the end of a string that is a key.
LIST = Expression(r"""["'][)\]]{0,2}\s*,\s*\\*["']$""")
KEY_END = Expression(r"""\\*["']\s*(?::(?!:)|=>)""")
NAME = Expression(r"[\w.:#-]+$")
# Lower-case words with colons or bars between them: the results that a mail server tests for.
WORDS = Expression(r"^[a-z]{3,14}(?:[:|][a-z]{3,14})+$")
# A file by its name.
FILE_NAME = Expression(r"^[\w./-]+\.(?:pem|crt|cer|key|json|ya?ml|txt|conf|cfg|ini|pub|p12|jks|sock|service)$")
# Rules for the input of a form (Laravel), and commands that return a value (PowerShell).
FORM_RULES = Expression(r"^(?:required|nullable|sometimes|confirmed|string|bail|present)\|[\w|:,.=-]+$")
COMMANDLET = Expression(r"^(?:Get|Read|New|ConvertTo|ConvertFrom|Import|Invoke)-[A-Z]\w+$")
# A class of characters in a regular expression.
CHARACTER_CLASS = Expression(r"a-z0-9|a-zA-Z|A-Za-z|A-Z0-9|a-z_|0-9A-Z|0-9a-f")
UUID = Expression(r"(?ix)^\{?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\}?$")
HASH = Expression(r"(?ix)^(?:sha(?:1|224|256|384|512)|md5)[-:=][A-Za-z0-9+/=]+$")
PUBLIC_KEY = Expression(
    r"""(?x)
    ^(?:ssh-(?:rsa|ed25519|dss)|AAAA[BCE][0-9A-Za-z]|                       # OpenSSH
    MII[BCDEFGHIJ][0-9A-Za-z+/]{40}|MFkw|MCow|                              # X.509 in base64
    LS0tLS1CRUdJTi(?:BDRVJU|BQVUJM))                                        # PEM in base64: BEGIN CERT, BEGIN PUBL"""
)
DATE_OR_NUMBER = Expression(
    r"""(?x)
    ^\d{4}-\d\d-\d\d(?:[T ][\d:.Z+-]*)?$|           # date, time
    ^[~^]?v?\d+(?:\.\d+){1,4}(?:[-+~][\w.+-]+)?$|   # version
    ^[\d.,:]+%?$|^0x[0-9A-Fa-f]{1,8}$|             # number
    ^[a-z]{2}(?:-[a-z]{3,10}){1,2}-\d_[A-Za-z0-9]{4,12}$  # pool of users in a region of AWS"""
)
# Names of algorithms: HS256, SHA256withRSA, AES/CBC/PKCS5Padding.
ALGORITHM = Expression(
    r"""(?ix)^(?:hmac-?)?(?:sha|[hrep]s|aes|rsa|ed|md|ecdsa|pbkdf|argon|des(?:ede)?|chacha)-?\d{0,5}
    (?:[-_/]?(?:with|and|sha|rsa|ecdsa|cbc|gcm|ecb|ctr|ccm|pkcs\d|padding|nopadding|oaep|mgf1|hmac|poly)|[-_/]\d{2,4}){0,8}$"""
)
HASH_OR_KEY = Expression(r"(?x)[0-9A-Fa-f]{32,128}|[\w+/=-]{40,}")
# Names, in lower case, of values that are digests: lock files, HTTP headers, commits. An expression that ignores case
# takes sixteen times as long, a millisecond on a line of minified JSON.
DIGEST_NAME = Expression(
    r"""(?x)(?:integrity|resolved|checksum|digest|sha(?:1|256|512|sum)|md5|etag|commit|revision|githead|fingerprint)
    "?\s*[:=]"""
)
# Names with "token", "key" or "pass" in them whose values are no secrets.
OTHER_NAME = Expression(
    r"""(?x)
    (?:(?<![A-Za-z])|(?=[A-Z]))(?i:
        next|prev|page|paging|pagination|continuation|csrf|xsrf|request|change|client|sync|     # paging, requests
        cancel|action|idempotency|start(?:ing)?|end|previous|resume|cursor|task|marker|lock|ownership|site|verification|
        stop|eos|bos|pad|unk|mask|sep|cls|special|image|audio|video|                        # tokens of language models
        public|primary|foreign|unique|sort|partition|cache|row|map|object|                   # keys of databases
        routing|websocket|translation|i18n)
    [ _-]?(?i:token|key)\w{0,12}["'\]]*[\s,]*(?:(?:value|content|default)["']?)?\s*
    (?:[:=>,(|]+|is)\s*(?:[\[{]\s*|-\s+)?["'`]?$|
    (?i:token|key|secret|pass\w{0,12}|auth|credentials?)[ _.-]?(?i:
        type|name|id|url|uri|file|path|hash|len|size|length|arn|endpoint|version|fingerprint|digest|checksum|ref|alg|
        algorithm|usage|count|index|expir\w*|ttl|prefix|suffix|format|store|class|commit|sha\d*|rev|domain|host|server|
        header|field|column|param|parameter|label|data|maps?|provider|audience|issuer|scope|method|mode|policy)s?
    ["'\]})]*\s*(?:[:=>,(]+\s*)?["'`]?$|
    (?i:bypass|compass|encompass|surpass|trespass|by-pass)\w{0,8}\W*$                     # words with "pass" in them"""
)
# What stands before the name of a secret of AWS, and before the ID of a key in a signed request.
AWS_NAME = Expression(
    r"""arn:[\w-]{3,10}:secretsmanager:[\w*-]{0,20}:[\w*]{0,12}:secret:$|(?i:amz-credential["']?[:=,])["' ]{0,2}$"""
)
# A call that gets a secret by its name: getSecret("billing-db-1").
GETTER = Expression(
    r"(?:(?i:(?<![a-z])(?:get|fetch|read|load|find|lookup|resolve)_)\w*|(?:get|fetch|read|load|find)[A-Z]\w*)\([\"'`]$"
)
# A fingerprint of an OpenPGP key, and names of such keys: ENV GPG_KEY=A035….
FINGERPRINT = Expression(r"(?:0x)?[0-9A-F]{40}")
FINGERPRINT_NAME = Expression(
    r"""(?i)(?:gpg|pgp|fingerprint|key_?id)[\w.-]{0,20}["'\]]?\s{0,4}[:=]{0,2}>?\s{0,4}["'`]?$"""
)
CONSTANT = Expression(r"^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+$")
IDENTIFIER = Expression(
    r"""(?x)^[a-z]{1,12}(?:_[a-z]{1,12})+$|^[A-Z]+(?:_[A-Z]+)+$|
    ^[a-z]{1,14}\d{0,4}(?:_[a-z]{1,14}\d{0,4}){2,}$"""
)
NUMBERED_NAME = Expression(r"^[a-z]{2,14}(?:[-_.:/][a-z]{2,14})*[-_.:/]v?\d{1,2}$")
# The name of a key that need not be a secret one: row_key, but not api_key.
PLAIN_KEY = Expression(
    r"""(?ix)(?<![\w.-])(?![\w.-]*(?:
    api|secret|access|priv|auth|crypt|sign|jwt|token|pass|master|session|cookie|hmac|cipher|aes|license|
    service|account|storage|app|admin|client|consumer|sdk|deploy|webhook|write|root|secure|sas|shared|encr))
    [\w.-]{0,40}key["'\])>]*\s*(?:[:=>,(]|value|default|string)*\s*["'`(<]*$"""
)
# What stands before a value in a comment or a note, and behind the last value of a line.
NOTE = Expression(r"(?:^|[ \t])(?://|\#|/?\*{1,2}|--|<!--|;)[ \t]|^[^(){};<=]{0,80}(?::|\||->|→|\bis)[ \t*]{1,4}$")
LINE_END = Expression(r"[ \t*|.]{0,4}(?:\*/|-->|\#.*|//.*)?\r?$")
CODE = Expression(r"(?x)[(){};]|=>|&&|\|\||==|\+=|->|::|\\x|\\u|\.\w+\.|\[")
# All but \x20-\x7e, \xa0-\ufffc, \t, \r, \n, \f; a long range takes 10 ms to compile.
CONTROL = Expression(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ufffd-\U0010ffff]")
MARKUP = Expression(r"(?x)</?[a-z]|&[a-z]+;|&\#[0-9x]")

MAX_HOST = 256
"""Characters of an address that are read on each side of a password: a DNS name has 253 at most."""
# Hosts of documentation: RFC 2606, and names like "host", "mydomain.com".
EXAMPLE_HOST = Expression(
    r"""(?ix)^(?:[\w.-]*\.)?(?:
    example(?:\.\w+)?|host(?:name)?|server|domain|your[\w.-]*|my[\w-]*(?:host|server|domain|proxy)[\w.-]*|
    foo|bar|test|site|some[\w-]*|proxy(?:host|server)?|a|b|h|x
    )(?:[:/?\#\s"'`,;)\]}<>]|\.(?:com|org|net|test|invalid|local(?:host)?)\b|$)"""
)
EXAMPLE_USERS = frozenset(
    ("user", "username", "login", "name", "usr", "foo", "alice", "bob", "joe", "john", "me", "u", "a")
)
"""Users of documentation."""
