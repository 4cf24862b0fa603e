"""Tools: small programs that show what goes on in a kernel, each a thin reader of what others keep.

What lives here: `tcpdump` (captures as lines), `ladder` (captures as a sequence diagram), `ss` (who has which socket),
`walk` (which functions one call goes through), `svg` (a terminal's text as a picture), `demo` (all of them on one HTTP
exchange).

What it may import: anything of pysock.

How data passes through: a tool takes packets or a namespace and returns text; none changes what it looks at.
"""
