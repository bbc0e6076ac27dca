//! `actool`, command by command.

use super::scene;
use crate::signify::{SIGNIFY_PUBLIC, SIGNIFY_SECRET};
use crate::support::https::{Reply, Server};

#[test]
fn images_are_made_and_looked_into() {
    scene()
        .line("actool build --owner-root layout new.aci")
        .line("actool id web.aci")
        .line("actool id --json web.aci")
        .line("actool ls web.aci")
        .line("actool ls --json web.aci | tail -n 1")
        .line("actool cat-manifest web.aci")
        .line("actool cat-manifest --pretty-print web.aci")
        .line("actool extract --no-owner web.aci copy && cat copy/rootfs/etc/motd")
        .line("actool patch-manifest --exec '/bin/web -v' --label tier=front web.aci other.aci")
        .line("actool edit --user 33 other.aci")
        .line("actool diff web.aci new.aci")
        .line("actool diff web.aci other.aci")
        .line("actool diff web.aci other.aci --json || true")
        .line("actool diff web.aci new.aci --json")
        .is("actool-images");
}

#[test]
fn manifests_are_made_and_validated() {
    scene()
        .line("actool validate web.aci layout layout/manifest")
        .line("actool validate bad.json")
        .line("actool validate --quiet bad.json layout")
        .line("actool validate --format json bad.json")
        .line("actool validate --format sarif bad.json | head -n 12")
        .line("cat web.aci | actool validate -")
        .line("mkdir -p new/rootfs/bin && echo '#!/bin/sh' >new/rootfs/bin/new && chmod +x new/rootfs/bin/new")
        .line("actool init --name example.com/new --exec '/bin/new -v' new")
        .line("cat new/manifest")
        .line("actool init --name example.com/next --exec '/bin/next' new")
        .line("actool explain im.labels.unique")
        .line("actool explain --json im.labels.unique")
        .line("actool explain --list volumes")
        .line("actool version")
        .line("actool version --json")
        .line("actool completions zsh | head -n 1")
        .line("actool man pages && ls pages | head -n 3")
        .is("actool-manifests");
}

#[test]
fn images_go_to_others_and_come_from_them() {
    let server = Server::https(|request| match request.path.as_str() {
        "/web?ac-discovery=1" => Reply::ok(
            "<meta name=ac-discovery content='localhost https://images.example/{name}-{version}-{os}-{arch}.{ext}'>\
             <meta name=ac-discovery-pubkeys content='localhost https://images.example/keys.asc'>",
        ),
        _ => Reply::status(404),
    });
    let mut scene = scene();
    scene.write("ca.pem", std::fs::read(server.bundle()).expect("certificates"));
    scene.write("secret", SIGNIFY_SECRET);
    scene.write("public", SIGNIFY_PUBLIC);
    scene.changing(&server.port.to_string(), "[PORT]");
    let discover = format!("SSL_CERT_FILE=ca.pem actool discover --port {}", server.port);
    scene
        .line("actool export oci web.aci oci --tag web:1.2")
        .line("actool import oci back.aci")
        .line("actool diff web.aci back.aci")
        .line("actool publish site web.aci --prefix example.com --url https://example.com/images --unsigned")
        .line("find site -type f | sort")
        .line("actool sign web.aci --signify-key secret")
        .line("actool verify web.aci --keyring public")
        .line("actool verify --json web.aci --keyring public")
        .line("actool publish --json site web.aci --public-key public")
        .line(&format!("{discover} localhost/web:1.2,os=linux,arch=amd64"))
        .line(&format!("{discover} --json localhost/web:1.2,os=linux,arch=amd64"))
        .line(&format!("{discover} localhost/db"))
        .is("actool-exchange");
}

#[test]
fn what_is_wrong_is_told() {
    scene()
        .line("actool")
        .line("actool bild")
        .line("actool build")
        .line("actool build nowhere new.aci")
        .line("actool build layout web.aci")
        .line("actool build layout new.tar")
        .line("actool build --level 20 layout new.aci")
        .line("actool id missing.aci")
        .line("actool id bad.json")
        .line("actool id layout")
        .line("actool id --max-size 1k web.aci")
        .line("actool id --max-size 1m web.aci")
        .line("actool ls missing.aci")
        .line("head -c 100 web.aci >short.aci; actool ls short.aci")
        .line("actool cat-manifest bad.json")
        .line("actool extract web.aci layout")
        .line("actool patch-manifest missing.aci new.aci --user 33")
        .line("actool patch-manifest web.aci new.aci --name Web")
        .line("actool edit missing.aci --user 33")
        .line("actool diff web.aci missing.aci")
        .line("actool validate missing.aci")
        .line("actool validate")
        .line("actool init layout --exec /bin/new")
        .line("actool explain im.labels.uniqe")
        .line("actool export tar web.aci new.tar")
        .line("actool export oci missing.aci new")
        .line("actool import missing new.aci")
        .line("actool import bad.json new.aci")
        .line("actool publish web.aci site")
        .line("actool publish site missing.aci --unsigned --prefix example.com --url https://example.com")
        .line("actool publish site web.aci --prefix example.com --url https://example.com")
        .line("actool discover https://example.com/web")
        .line("actool discover example.com/Web")
        .line("actool sign missing.aci --signify-key missing.key")
        .line("actool sign web.aci --signify-key bad.json")
        .line("actool verify web.aci bad.json --keyring missing.gpg")
        .line("actool verify web.aci --keyring bad.json")
        .line("actool version --jsn")
        .line("actool completions tcsh")
        .line("actool man bad.json/pages")
        .is("actool-faults");
}
