//! Resource rules: which are made, what the kernel takes, and how they end.

use super::*;
use crate::executor::freebsd::System as _;

#[test]
fn memory_limits_kill_and_deny_nothing() {
    let (model, layers) = host(1);
    let mut plan = pod(&model, 1, vec![app(0, &layers[0])]);
    plan.isolators.push(Isolation::Memory { request: None, limit: Some(64 << 20) });
    applied(&model, &steps(&model, &plan));
    // Resident memory cannot be denied, and what could be denied in its place is not what is used.
    assert_eq!(model.state().rules, [format!("jail:jetpack-{}:memoryuse:sigkill=67108864", plan.uuid)]);
}

#[test]
fn processes_are_bounded_by_rules_of_the_jail_and_of_each_apps_login_class() {
    let (model, layers) = host(2);
    let (mut one, other) = (app(0, &layers[0]), app(1, &layers[1]));
    one.isolators.push(Isolation::MaxProcesses { limit: 10 });
    let mut plan = pod(&model, 1, vec![one, other]);
    plan.isolators.push(Isolation::MaxProcesses { limit: 100 });
    let before = without_shared(&model);
    let compiled = compile(&plan, &facts(&model, &plan)).unwrap();
    applied(&model, &compiled.steps);
    let class = format!("jetpack-{}-0", &plan.uuid.simple().to_string()[..16]);
    let jail = format!("jail:jetpack-{}:maxproc:deny=100", plan.uuid);
    assert_eq!(model.state().rules, [jail, format!("loginclass:{class}:maxproc:deny=10")]);
    // Whoever is of that class is counted: what the app's processes become before they are its program.
    let context = compiled.steps.iter().find_map(|step| match step {
        Step::Process { app: 0, context } => Some(context.login_class.clone()),
        _ => None,
    });
    assert_eq!(context.as_ref(), Some(&class));
    let limits = |compiled: &crate::executor::Compiled<Step>| -> Vec<String> {
        let told = compiled.report.weaker().map(ToString::to_string);
        told.filter(|line| line.contains("os/unix/max-processes")).collect()
    };
    let told = limits(&compiled);
    assert_eq!(told.len(), 1, "the pod's own limit binds all: {told:?}");
    assert!(told[0].contains("login class"), "{told:?}");
    undone(&model, &compiled.steps);
    assert_eq!(before, without_shared(&model));

    model.change(|state| {
        let _ = state.sysctls.insert("kern.racct.enable".to_owned(), 0);
    });
    let compiled = compile(&plan, &facts(&model, &plan)).unwrap();
    assert_eq!(limits(&compiled).iter().filter(|line| line.contains("ignored")).count(), 2, "neither is counted");
    applied(&model, &compiled.steps);
    assert!(model.state().rules.is_empty());
}

#[test]
fn limits_that_are_higher_than_a_rule_can_say_do_not_keep_a_pod_from_starting() {
    let (model, layers) = host(1);
    let mut plan = pod(&model, 1, vec![app(0, &layers[0])]);
    plan.isolators = vec![
        Isolation::Memory { request: None, limit: Some(u64::MAX) },
        Isolation::Cpu { request: None, limit: Some(u64::MAX) },
        Isolation::BlockBandwidth { limit: u64::MAX },
        Isolation::MaxProcesses { limit: u64::MAX },
    ];
    applied(&model, &steps(&model, &plan));
    let amounts: Vec<u64> =
        model.state().rules.iter().map(|rule| rule.rsplit_once('=').unwrap().1.parse().unwrap()).collect();
    let most = i64::MAX as u64;
    assert_eq!(amounts, [most, most / 1_000_000, most, most, most]);
}

#[test]
fn the_kernel_takes_the_rules_that_it_can_hold() {
    let mut model = Model::new();
    let mut add = |rule: &str| model.add_rule(rule).map_err(|error| error.raw_os_error());
    assert_eq!(add("jail:a:maxproc:deny=5"), Ok(()));
    // One that denies takes the place of the one before; of those that do something else both stay.
    assert_eq!(add("jail:a:maxproc:deny=7"), Ok(()));
    assert_eq!(add("jail:a:memoryuse:sigkill=5"), Ok(()));
    assert_eq!(add("jail:a:memoryuse:sigkill=7"), Ok(()));
    for (rule, errno) in [
        ("jail:a:readbps:deny=5", libc::EOPNOTSUPP),
        ("jail:a:pcpu:throttle=5", libc::EOPNOTSUPP),
        ("jail:a:memoryuse:throttle=5", libc::EOPNOTSUPP),
        ("jail:a:shares:deny=5", libc::EINVAL),
        ("jail:a:maxproc:deny=many", libc::EINVAL),
        ("jail:a:pcpu:deny=9223372036855", libc::ERANGE),
        ("loginclass:a-name-of-thirty-three-characters:maxproc:deny=5", libc::ENAMETOOLONG),
    ] {
        assert_eq!(add(rule), Err(Some(errno)), "{rule}");
    }
    let kept = ["jail:a:maxproc:deny=7", "jail:a:memoryuse:sigkill=5", "jail:a:memoryuse:sigkill=7"];
    assert_eq!(model.state().rules, kept);
}
