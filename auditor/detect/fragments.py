"""Fragments of patterns: the grammar of names and assignments, which keyword rules share.

A rule's pattern refers to a fragment as `(?&name)`, the notation of PCRE for a subpattern. Fragments are written for
patterns that ignore case. The names of secrets end where no letter, digit or `_` follows; built-in rules with them are
searched together (auditor/detect/name_rules.py). `quoted` and `unquoted` lead from the end of a name to the first
character of its value, in the grammars of programming languages, shells, make, and configuration formats. `token-start`
is the beginning of a token: at a word boundary, or behind an escape such as a backslash with n, `%22`, or the colour
code of a terminal. `code-before` is such an escape or colour code alone. `past-name` and `past-keyword` lead from the
name of a provider to a value of known shape, also in patterns that do not ignore case; rules with them are searched
together (auditor/detect/provider_rules.py).
"""

from __future__ import annotations

import re

_REFERENCE = re.compile(r"\(\?&([a-z-]+)\)")

FRAGMENTS = {
    "password-name": r"""
        (?:pass[_-]?w(?:or)?d|passwd|pass[_-]?phrase|passcode|passwort|kennwort|contrasen[y]?a|senha|mot_?de_?passe|
        ps?swd|pwd|
        (?:(?<![a-z])(?!pass["'`]{0,2}[ \t]{0,20}[,("'])|[_.-](?!pass\()|(?-i:(?<=[a-z])(?=P))|
        require|db|user|admin|root|smtp|ftp|mail|sql|auth|key|store|login|imap|ssh|bind|ldap|redis|mongo|postgres|proxy|
        vpn|my)(?:pass|pw))
        (?&suffix)""",
    "token-name": r"""
        (?:secret|token|credentials?|creds?|api[_. -]?key|apikey|bearer|
        (?:access|private|priv|encrypt(?:ion)?|decrypt(?:ion)?|signing|sign|signature|master|secret|shared|session|cookie|
        hmac|crypto|cipher|aes|license|licence|service|account|storage|app|application|admin|client|consumer|sdk|deploy|
        webhook|server|write|root|secure|jwt|sas|connection|auth|subscription|fernet|webhooks?)[_.-]?key)
        (?&suffix)""",
    "secret-name": r"""(?:(?&password-name)|(?&token-name)|(?&key-name))""",
    "key-name": r"""
        (?:(?:[a-z0-9][_.-]|(?-i:(?<=[a-z0-9])(?=K))|(?<=[a-z]{3}))key|[_.-](?:auth|pat|sk|hmac|salt|pepper|seed)|(?<![a-z0-9])auth|
        (?-i:(?<=[a-z0-9])(?:Auth|Pat|Sk|Hmac|Salt|Pepper|Seed)(?![a-z])))(?&suffix)""",
    "long-name": r"""(?:secret|token|api[_-]?key|passw(?:or)?d|credentials?)[\w.-]{1,24}(?![A-Za-z0-9_])""",
    "suffix": r"""
        (?:[_.-]?(?:v?[0-9]{1,2}|here|id|key|base|prod(?:uction)?|dev|staging|stage|test|live|value|text|plain|string|str|default|
        old|new|current|admin|root|user|db|s))?_{0,2}(?![A-Za-z0-9_])""",
    "name-end": r"""(?:\\{0,3}["'`]|[\])}!?*]|\[[\w$*:]{0,12}\]|&quot;|\\u0022|%2[27]|\x1b\[[0-9;]{0,8}m){0,4}""",
    "type": r"""
        (?:(?::[ \t]?|[ \t])[&*'\[\]]{0,2}[a-z][\w.:<>\[\]?|&*']{0,40}
        (?:[ \t]\|?[ \t]?[\w*]{1,12}|\([0-9a-z]{1,4}\))?[ \t]{0,4}(?=:?=)|
        \{[ \t]?get;[^}\n]{0,24}\}[ \t]?(?==))?""",
    "operator": r"""
        (?:[:?+.|/!<=-]{0,3}=>?|:[:-]|[:,({|]|->|<<<|<-|→|\|\||\?[?:]|//|%3[AD](?:%20)?|
        (?<=[\s)\]])(?:or|to|is|as)(?=\s)|
        \.(?:equals|unwrap_or(?:_else)?|orelse|getorelse|or_else|default|set)\()""",
    "constructor": r"""
        (?:(?:new[ \t])?(?![\w:.]{0,20}?(?<![a-z])(?:get|fetch|read|load|find|lookup|resolve))[\w:.\[\]]{0,20}
        (?:string|str|literal|secret|sensitive|text|from|of|some|bytes?|value|field|decode|parse|base64|pack)
        (?:[(\[{]|[ \t](?=["']))|
        \|_?\|[ \t](?:string::from\()?|~s[(\[{|]|lambda:[ \t]|
        \$?[(`](?:echo|printf)[ \t](?:-n[ \t])?|[(\[{<|_]{1,3}|<[a-z]{1,12}>|new[ \t]|[a-z@$\#*&]{1,3})?""",
    "quoted": r"""
        (?&name-end)[ \t]{0,20}(?&type)(?&operator)[ \t]{0,20}(?:\\?\r?\n[ \t]{0,20})?
        (?&constructor)\s{0,16}\\{0,3}(?:["'`]{1,3}(?:\\{1,3}["'])?|&quot;|u0022|%22)""",
    "quote-end": r"""(?<!\\)\\{0,3}(?:["'`]|&quot;|u0022|%22)""",
    "unquoted": r"""
        (?&name-end)[ \t]{0,20}
        (?:[:?+.]{0,3}=(?:=(?=[^\s=]))?|%3[AD](?:%20)?(?!%2[27])|:-?(?=[^\s:/][^\s:]{5})|
        ::[ \t](?=[^\s:]{8})|
        (?:->|=>|→)[ \t](?=[^\s]{8,400}[ \t]{0,8}(?:[\r\n]|\Z))|
        (?<=[ \t])is[ \t](?=[^\s0-9]{0,60}[0-9])(?=[^\s]{12,400}[ \t]{0,8}(?:[\r\n]|\Z))|
        :[ \t](?=[ \t]{0,20}[^\s]{5,400}[ \t]{0,8}(?:[\r\n,;}\\\x1b]|\#|\*/|-->|\Z)|[^\s"'`]{8,400}["'`]|
        [ \t]{0,20}[!&|>]))
        [ \t]{0,20}
        (?:!!?[a-z]{1,12}[ \t]{1,4}|&[\w-]{1,20}[ \t]{1,4}|[|>][+-]?[ \t]{0,4}\r?\n[ \t]{1,16}|
        (?:%?qq?|~s)[({\[|]|\{\||\[(?=[^\s,\]]{8,400}\])|\[\[|<!\[CDATA\[|
        \$?[(`](?:echo|printf)[ \t](?:-n[ \t])?|\x1b\[[0-9;]{0,8}m)?""",
    "token-start": r"(?:\b|(?<=\\.)|(?<=%..)|(?<=[0-9]m))",
    "code-before": r"(?<=\\[nrt])|(?<=%[0-9A-Fa-f]{2})|(?<=[0-9]m)",
    "credential-word": r"(?i:key|token|secret|pass|pwd|auth(?!or(?!i))|bearer|cred)",
    "assigned": r"""
        (?:</(?:key|name)>\s{0,24}<(?:string|value)>|(?:&quot;|%3[AD]|%22|%20|[:= ]){1,6}|
        [\s"'`\[\](){\\,:=<>|?!]{1,24}(?:(?:value|default|&?[Ss]tr(?:ing)?|is)[\s"'\\:=(]{1,8})?
        (?:- ?)?(?:[@A-Za-z]?["'])?)""",
    "near": r"[^\x00]{0,48}?(?&credential-word)[\w.\-]{0,20}",
    "direct": r"""
        (?i:[_.-]?(?:auth|api|client|credentials?|pat|init(?:ialize)?|new|config(?:ure)?|setup|connect|login))?
        (?!\s{0,4}\n(?!\s{0,24}["']?(?:value|default)))""",
    "past-keyword": r"(?&near)(?&assigned)",
    "past-name": r"(?:(?&near)|(?&direct))(?&assigned)",
}


def expand(pattern: str) -> str:
    """Replace references to fragments. Raises KeyError on an unknown name."""
    return _REFERENCE.sub(lambda match: expand(_compact(FRAGMENTS[match[1]])), pattern)


def _compact(text: str) -> str:
    """Remove line breaks and indentation, which make a fragment readable."""
    return re.sub(r"\n[ ]*", "", text)
