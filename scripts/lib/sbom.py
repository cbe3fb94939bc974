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


def debian(program):
    packages = packages_of(re.findall(r"=> (/\S+)", output("ldd", program)))
    if output("dpkg-query", "-W", "musl-dev"):
        packages.add("musl-dev")  # the agent inside the program is linked with it, statically
    for package in sorted(packages):
        version, source, architecture = output(
            "dpkg-query", "-W", "-f", "${Version}|${source:Package}|${Architecture}", package).split("|")
        name = package.split(":")[0]
        purl = "pkg:deb/debian/%s@%s?arch=%s" % (name, urllib.parse.quote(version, safe=".-"), architecture)
        yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl,
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
        if about.get("license"):
            component["licenses"] = [{"license": {"name": about["license"]}}]
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
