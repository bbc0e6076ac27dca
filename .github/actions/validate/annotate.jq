# SARIF as commands of a workflow, one a finding: GitHub shows them beside the lines that they are about.
def property: gsub("%"; "%25") | gsub("\r"; "%0D") | gsub("\n"; "%0A") | gsub(":"; "%3A") | gsub(","; "%2C");
def digit: if . >= 97 then . - 87 elif . >= 65 then . - 55 else . - 48 end;
def character: [(explode | (.[0] | digit) * 16 + (.[1] | digit))] | implode;
# As the workflow's checkout calls it.
def path: sub("^file://"; "") | gsub("%(?<code>[0-7][0-9A-Fa-f])"; .code | character) | ltrimstr((env.GITHUB_WORKSPACE // "") + "/");
def message: gsub("%"; "%25") | gsub("\r"; "%0D") | gsub("\n"; "%0A");
.runs[].results[]
| (.locations[0].physicalLocation // {}) as $at
| ({error: "error", warning: "warning"}[.level // "warning"] // "notice") as $command
| [ (($at.artifactLocation.uri // empty) | "file=" + (path | property)),
    (($at.region.startLine // empty) | "line=\(.)"),
    (($at.region.startColumn // empty) | "col=\(.)"),
    "title=" + ((.ruleId // "actool") | property)
  ] as $properties
| "::\($command) \($properties | join(","))::\(.message.text | message)"
