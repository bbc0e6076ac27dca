//! Addresses, translation, names and ports.

use super::*;
use crate::executor::freebsd::diagnose;

#[test]
fn pods_that_start_at_the_same_moment_share_no_address() {
    let (model, layers) = host(1);
    let start = |number: u128| {
        let mut plan = pod(&model, number, vec![app(0, &layers[0])]);
        plan.network = Network::Named(vec!["default".to_owned()]);
        let facts = HostFacts::for_pod(&mut model.clone(), &plan, &Configured::default(), true).unwrap();
        (plan, facts)
    };
    // Nothing of any is applied before the last has looked for an address.
    let started: Vec<_> = (1..=100).map(start).collect();
    let network = |facts: &HostFacts| facts.network.clone().unwrap();
    let addresses: std::collections::BTreeSet<_> = started.iter().map(|(_, facts)| network(facts).address).collect();
    let units: std::collections::BTreeSet<_> = started.iter().map(|(_, facts)| network(facts).unit).collect();
    assert_eq!((addresses.len(), units.len()), (100, 100));
    for (plan, facts) in &started {
        applied(&model, &compile(plan, facts).unwrap().steps);
    }
    assert_eq!(model.state().jails.len(), 100);
}

#[test]
fn the_address_of_a_pod_that_is_gone_is_free_again() {
    let (model, layers) = host(1);
    let choose = |plan: &PodPlan| {
        let facts = HostFacts::for_pod(&mut model.clone(), plan, &Configured::default(), true).unwrap();
        facts.network.unwrap().address
    };
    let network = |number| {
        let mut plan = pod(&model, number, vec![app(0, &layers[0])]);
        plan.network = Network::Named(vec!["default".to_owned()]);
        plan
    };
    let (first, second) = (network(1), network(2));
    let taken = choose(&first);
    assert_ne!(choose(&second), taken);
    model.change(|state| state.files.retain(|path, _| !path.starts_with(&first.directory)));
    assert_eq!(choose(&network(3)), taken);
    // One that a killed process left without a word.
    model.change(|state| {
        let claims = state.files.iter_mut().filter(|(path, _)| path.ends_with(taken.to_string()));
        claims.for_each(|(_, claim)| *claim = Node::File(String::new()));
    });
    assert_eq!(choose(&network(4)), taken);
    assert_ne!(choose(&network(5)), taken);
}

#[test]
fn a_pod_with_a_network_is_translated_outwards_where_the_host_has_a_way() {
    let (model, layers) = host(1);
    let mut plan = pod(&model, 1, vec![app(0, &layers[0])]);
    plan.network = Network::Named(vec!["default".to_owned()]);
    applied(&model, &steps(&model, &plan));
    let rules: String = model.state().anchors.into_values().collect();
    assert!(rules.contains("nat pass on em0 inet from 10.77.0.2 to any -> (em0)"), "{rules}");
}

#[test]
fn a_pod_that_has_a_network_finds_names_as_the_host_does_where_its_image_says_nothing() {
    let (model, layers) = host(1);
    let host_says = Node::File("nameserver 10.0.0.1\n".to_owned());
    model.change(|state| drop(state.files.insert(PathBuf::from("/etc/resolv.conf"), host_says)));
    for (network, says) in [
        (Network::None, None),
        (Network::Host, Some("nameserver 10.0.0.1\n")),
        (Network::Named(vec!["default".to_owned()]), Some("nameserver 10.0.0.1\n")),
    ] {
        let mut plan = pod(&model, 1, vec![app(0, &layers[0])]);
        plan.network = network;
        let steps = steps(&model, &plan);
        let provided = steps.iter().find_map(|step| match step {
            Step::ProvideFile { path, content, .. } if path.ends_with("resolv.conf") => Some(content.as_str()),
            _ => None,
        });
        assert_eq!(provided, says, "{:?}", plan.network);
    }
}

#[test]
fn ports_are_refused_where_the_packet_filter_would_not_look_at_them() {
    let (model, layers) = host(1);
    let mut plan = pod(&model, 1, vec![app(0, &layers[0])]);
    plan.network = Network::Named(vec!["default".to_owned()]);
    plan.ports.push(PortForward {
        name: "www".to_owned(),
        protocol: "tcp".to_owned(),
        host_port: 8080,
        host_ip: None,
        pod_port: 80,
        count: 1,
        socket_activated: None,
    });
    let refused = |rules: Option<&[&str]>| {
        model.change(|state| state.main_rules = rules.map(|rules| rules.iter().map(ToString::to_string).collect()));
        let told =
            diagnose(&mut model.clone(), true, super::super::DATASET).into_iter().filter_map(|found| found.remedy);
        let told = told.collect::<String>();
        (crate::error::chain(&compile(&plan, &facts(&model, &plan)).unwrap_err()), told)
    };
    let (refusal, told) = refused(Some(&["nat-anchor \"jetpack/*\"", "anchor \"jetpack/*\""]));
    assert!(refusal.contains("/etc/pf.conf") && refusal.ends_with("rdr-anchor \"jetpack/*\""), "{refusal}");
    assert!(told.ends_with("rdr-anchor \"jetpack/*\""), "{told}");
    let (refusal, told) = refused(None);
    assert!(refusal.contains("service pf onestart") && told.contains("service pf onestart"), "{refusal}; {told}");
}

#[test]
fn what_is_lost_without_networks_of_jails_own_is_told() {
    let (model, layers) = host(1);
    model.change(|state| {
        let _ = state.sysctls.insert("kern.features.vimage".to_owned(), 0);
    });
    let mut plan = pod(&model, 1, vec![app(0, &layers[0])]);
    plan.metadata = Metadata::Own;
    let compiled = compile(&plan, &facts(&model, &plan)).unwrap();
    let weaker: Vec<String> = compiled.report.weaker().map(ToString::to_string).collect();
    for words in ["network namespace", "metadata service"] {
        assert!(weaker.iter().any(|line| line.contains(words) && line.contains("VIMAGE")), "{words}: {weaker:?}");
    }
    applied(&model, &compiled.steps);
    undone(&model, &compiled.steps);
}
