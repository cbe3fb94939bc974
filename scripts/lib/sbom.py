"""CycloneDX 1.5 of a program and a lock file; see scripts/sbom.sh."""

import hashlib
import json
import os
import re
import subprocess
import sys
import urllib.parse


def output(*words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return done.stdout if done.returncode == 0 else ""


def packages_of(paths):
    """Where /usr is merged, dpkg may know a file by another of its names."""
    names = {}
    for path in paths:
        real = os.path.realpath(path)
        for name in (path, "/usr" + path, real, re.sub("^/usr", "", real)):
            names[name] = path
    done = subprocess.run(["dpkg", "-S"] + sorted(names), stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True)
    found = {}
    for line in done.stdout.splitlines():
        package, _, name = line.partition(": ")
        if name in names:
            found[names[name]] = package.split(",")[0]
    missing = set(paths) - set(found)
    if missing:
        raise SystemExit("sbom: no package has %s" % ", ".join(sorted(missing)))
    return set(found.values())


def licences(name):
    """(declared, found) of a Debian package, by its copyright file: what `Files: *` says and
    everything that is named at all. Where the file is prose nothing is guessed: declared is
    the file, found are the common licences it refers to."""
    try:
        with open("/usr/share/doc/%s/copyright" % name, errors="replace") as file:
            text = file.read()
    except OSError:
        raise SystemExit("sbom: %s has no copyright file" % name)
    found = set(re.findall(r"(?m)^License: *(\S.*?) *$", text))
    main = re.search(r"(?ms)^Files: *\*\s*$(.*?)^License: *(\S[^\n]*?) *$", text)
    if main and "\n\n" not in main.group(1):
        return {main.group(2)}, found
    if not found:
        found = set(re.findall(r"/usr/share/common-licenses/([A-Z][\w.-]*\w)", text))
    return {"as in /usr/share/doc/%s/copyright" % name}, found


def named(names):
    return [{"license": {"name": name}} for name in sorted(names)]


def debian(program):
    packages = packages_of(re.findall(r"=> (/\S+)", output("ldd", program)))
    for package in ("musl-dev", "libbearssl-dev"):  # the agents inside are linked with them, statically
        if output("dpkg-query", "-W", package):
            packages.add(package)
    for package in sorted(packages):
        version, source, architecture = output(
            "dpkg-query", "-W", "-f", "${Version}|${source:Package}|${Architecture}", package).split("|")
        name = package.split(":")[0]
        purl = "pkg:deb/debian/%s@%s?arch=%s" % (name, urllib.parse.quote(version, safe=".-"), architecture)
        declared, found = licences(name)
        yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl,
               "licenses": named(declared), "evidence": {"licenses": named(found)},
               "properties": [{"name": "debian:source", "value": source},
                              {"name": "debian:copyright", "value": "/usr/share/doc/%s/copyright" % name}]}


def npm(lock):
    if not os.path.exists(lock):
        return
    with open(lock) as file:
        packages = json.load(file)["packages"]
    for path, about in sorted(packages.items()):
        if not path:
            continue
        name = about.get("name") or path.rpartition("node_modules/")[2]
        purl = "pkg:npm/%s@%s" % (urllib.parse.quote(name, safe="/"), about["version"])
        component = {"type": "library", "bom-ref": purl + "#" + path, "name": name, "version": about["version"],
                     "purl": purl, "scope": "excluded" if about.get("dev") else "required"}
        if not about.get("license"):
            raise SystemExit("sbom: the lock file names no licence of %s" % name)
        component["licenses"] = named([about["license"]])
        yield component


def main():
    program, lock = sys.argv[1:3]
    version = output(program, "--version").splitlines()[0].split()[1]
    with open(program, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    components = list(debian(program)) + list(npm(lock))
    json.dump({"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
               "metadata": {"component": {"type": "application", "bom-ref": "paddock", "name": "paddock",
                                          "version": version,
                                          "licenses": [{"license": {"id": "Apache-2.0"}}],
                                          "hashes": [{"alg": "SHA-256", "content": digest}]}},
               "components": components,
               "dependencies": [{"ref": "paddock", "dependsOn": [c["bom-ref"] for c in components]}]},
              sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
