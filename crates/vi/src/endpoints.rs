//! The table of all endpoints of the resource API: method, path, what a key must be allowed, and who answers.
//!
//! It is in the order and has the numbers of the client's wire reference, and nothing is added to the router but what
//! stands here. An endpoint whose behaviour is not built is in the table all the same: who may not use it is refused as
//! they will be when it is built, and only who may is told that it is not available.

use axum::routing::MethodFilter;
use keyward_core::operation::Operation::{self, *};
use keyward_core::resource::ResourceType::{
    Dataset, Deployment, DeploymentEndpoint, DeploymentProject, Flow, Run, TrainingProject,
};
use keyward_http::routes::ResourceOf::{Collection, Item, New};
use keyward_http::routes::{Guard, OperationOf, ResourceOf};

use self::Answer::{
    CancelNotAvailable, CreateDataset, DeleteDataset, EditDataset, EditOrganization, ListCollaborators,
    ListDatasets, ListMembers, ListOrganizations, ListSimpleDatasets, NotAvailable, ShowDataset,
    ShowDeletion, ShowOrganization,
};
use self::Verb::{Delete, Get, Patch, Post, Put};

/// One endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    /// Its number in the wire reference; `63b` is one.
    pub number: &'static str,
    /// Its method.
    pub verb: Verb,
    /// Its path, with the parameters in braces.
    pub path: &'static str,
    /// What a key must be allowed.
    pub guard: Guard,
    /// Who answers.
    pub answer: Answer,
}

/// The methods that endpoints have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// `GET`
    Get,
    /// `PUT`
    Put,
    /// `POST`
    Post,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
}

/// Who answers a request that was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the handler of that name")]
pub enum Answer {
    ListOrganizations,
    ShowOrganization,
    EditOrganization,
    ListMembers,
    ListDatasets,
    ListSimpleDatasets,
    CreateDataset,
    ShowDataset,
    EditDataset,
    DeleteDataset,
    ShowDeletion,
    ListCollaborators,
    /// It is not built: 404 `not_available_here`.
    NotAvailable,
    /// It is not built, and only an id that ends in `:cancel` is its address: a router's parameter takes a whole segment.
    CancelNotAvailable,
}

impl Verb {
    /// The method as it is written in a request.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    pub(crate) const fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Put => MethodFilter::PUT,
            Self::Post => MethodFilter::POST,
            Self::Patch => MethodFilter::PATCH,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

const ORGANIZATION: ResourceOf = ResourceOf::Organization;
const DATASET: ResourceOf = ResourceOf::Dataset;
const TRAINING_PROJECT: ResourceOf = Item(TrainingProject, "training_project");
const FLOW: ResourceOf = Item(Flow, "flow");
const RUN: ResourceOf = Item(Run, "run");
const DEPLOYMENT: ResourceOf = Item(Deployment, "deployment");
const DEPLOYMENT_PROJECT: ResourceOf = Item(DeploymentProject, "deployment_project");
const DEPLOYMENT_ENDPOINT: ResourceOf = Item(DeploymentEndpoint, "deployment_endpoint");

/// The outputs of a run: looking at them is not downloading them.
const OUTPUTS: Guard = Guard {
    operation: OperationOf::ByContents(TrainingRead, ModelDownload),
    resource: RUN,
};

const fn on(operation: Operation, resource: ResourceOf) -> Guard {
    Guard {
        operation: OperationOf::Always(operation),
        resource,
    }
}

const fn row(number: &'static str, verb: Verb, path: &'static str, guard: Guard, answer: Answer) -> Endpoint {
    Endpoint {
        number,
        verb,
        path,
        guard,
        answer,
    }
}

macro_rules! organization {
    ($rest:literal) => {
        concat!("/workspaces/{organization}", $rest)
    };
}

macro_rules! dataset {
    ($rest:literal) => {
        concat!("/workspaces/{organization}/datasets/{dataset}", $rest)
    };
}

macro_rules! source {
    ($rest:literal) => {
        concat!(
            "/workspaces/{organization}/datasets/{dataset}/assetSources/{class}/{provider}/{source}",
            $rest
        )
    };
}

/// All endpoints.
#[rustfmt::skip]
pub static ENDPOINTS: [Endpoint; 115] = [
    row("1", Get, "/workspaces", on(OrganizationRead, ORGANIZATION), ListOrganizations),
    row("2", Get, organization!(""), on(OrganizationRead, ORGANIZATION), ShowOrganization),
    row("3", Patch, organization!(""), on(OrganizationWrite, ORGANIZATION), EditOrganization),
    row("4", Get, organization!("/collaborators"), on(OrganizationRead, ORGANIZATION), ListMembers),
    row("5", Delete, organization!("/collaborators/{user}"), on(MembersWrite, ORGANIZATION), NotAvailable),
    row("6", Get, organization!("/quota"), on(OrganizationRead, ORGANIZATION), NotAvailable),
    row("7", Get, "/plans", on(OrganizationRead, ORGANIZATION), NotAvailable),
    row("8", Get, "/plans/{plan}", on(OrganizationRead, ORGANIZATION), NotAvailable),
    row("9", Get, organization!("/datasets"), on(DatasetRead, Collection(Dataset)), ListDatasets),
    row("10", Get, organization!("/simpleDatasets"), on(DatasetRead, Collection(Dataset)), ListSimpleDatasets),
    row("11", Post, organization!("/datasets"), on(DatasetWrite, New(Dataset)), CreateDataset),
    row("12", Get, dataset!(""), on(DatasetRead, DATASET), ShowDataset),
    row("13", Patch, dataset!(""), on(DatasetWrite, DATASET), EditDataset),
    row("14", Delete, dataset!(""), on(DatasetDelete, DATASET), DeleteDataset),
    row("15", Get, dataset!("/deleteOperation"), on(DatasetRead, DATASET), ShowDeletion),
    row("16", Get, dataset!("/collaborators"), on(DatasetRead, DATASET), ListCollaborators),
    row("17", Get, dataset!("/aggregationStatistics"), on(DatasetRead, DATASET), NotAvailable),
    row("18", Post, dataset!("/aggregationStatistics:generate"), on(DatasetWrite, DATASET), NotAvailable),
    row("19", Get, dataset!("/deleteManyAssetsSessions"), on(DatasetRead, DATASET), NotAvailable),
    row("20", Post, dataset!("/deleteManyAssetsSessions"), on(DatasetDelete, DATASET), NotAvailable),
    row("21", Get, dataset!("/deleteManyAssetsSessions/{session}"), on(DatasetRead, DATASET), NotAvailable),
    row("22", Post, dataset!("/datasetExports"), on(DatasetExport, DATASET), NotAvailable),
    row("23", Get, dataset!("/datasetExports"), on(DatasetExport, DATASET), NotAvailable),
    row("24", Get, dataset!("/datasetExports/{export}"), on(DatasetExport, DATASET), NotAvailable),
    row("25", Get, dataset!("/assets"), on(DatasetRead, DATASET), NotAvailable),
    row("26", Get, dataset!("/assets:count"), on(DatasetRead, DATASET), NotAvailable),
    row("27", Get, dataset!("/assets/{asset}"), on(DatasetRead, DATASET), NotAvailable),
    row("28", Delete, dataset!("/assets/{asset}"), on(DatasetDelete, DATASET), NotAvailable),
    row("29", Post, dataset!("/assets/{asset}/name"), on(DatasetWrite, DATASET), NotAvailable),
    row("30", Post, dataset!("/assetFiles/{filename}/name"), on(DatasetWrite, DATASET), NotAvailable),
    row("31", Get, dataset!("/assetSources"), on(DatasetRead, DATASET), NotAvailable),
    row("32", Get, source!(""), on(DatasetRead, DATASET), NotAvailable),
    row("33", Get, source!("/sample"), on(DatasetRead, DATASET), NotAvailable),
    row("34", Delete, source!(""), on(DatasetDelete, DATASET), NotAvailable),
    row("35", Get, source!("/assetIngestionSessions"), on(DatasetRead, DATASET), NotAvailable),
    row("36", Post, source!("/assetIngestionSessions"), on(DatasetWrite, DATASET), NotAvailable),
    row("37", Get, source!("/assetIngestionSessions/{session}"), on(DatasetRead, DATASET), NotAvailable),
    row("38", Post, source!("/assetIngestionSessions/{session}"), on(DatasetWrite, DATASET), CancelNotAvailable),
    row("39", Post, source!("/multipartUploads"), on(DatasetWrite, DATASET), NotAvailable),
    row("40", Post, source!("/multipartUploads/{upload}/parts/{part}"), on(DatasetWrite, DATASET), NotAvailable),
    row("41", Post, source!("/multipartUploads/{upload}/parts/{part}/completion"), on(DatasetWrite, DATASET), NotAvailable),
    row("42", Post, source!("/multipartUploads/{upload}/completion"), on(DatasetWrite, DATASET), NotAvailable),
    row("43", Delete, source!("/multipartUploads/{upload}"), on(DatasetWrite, DATASET), NotAvailable),
    row("44", Get, dataset!("/assetsWithObjects"), on(DatasetRead, DATASET), NotAvailable),
    row("45", Get, dataset!("/assetsWithObjects/{asset}"), on(DatasetRead, DATASET), NotAvailable),
    row("46", Get, dataset!("/assets/{asset}/annotations"), on(DatasetRead, DATASET), NotAvailable),
    row("47", Get, dataset!("/assets/{asset}/annotations/{annotation}"), on(DatasetRead, DATASET), NotAvailable),
    row("48", Put, dataset!("/assets/{asset}/annotations/{annotation}"), on(AnnotationWrite, DATASET), NotAvailable),
    row("49", Patch, dataset!("/assets/{asset}/annotations/{annotation}"), on(AnnotationWrite, DATASET), NotAvailable),
    row("50", Delete, dataset!("/assets/{asset}/annotations/{annotation}"), on(AnnotationDelete, DATASET), NotAvailable),
    row("51", Get, dataset!("/annotationImportSessions"), on(DatasetRead, DATASET), NotAvailable),
    row("52", Post, dataset!("/annotationImportSessions"), on(AnnotationWrite, DATASET), NotAvailable),
    row("53", Get, dataset!("/annotationImportSessions/{session}"), on(DatasetRead, DATASET), NotAvailable),
    row("54", Post, dataset!("/annotationImportSessions/{session}/files"), on(AnnotationWrite, DATASET), NotAvailable),
    row("55", Patch, dataset!("/annotationImportSessions/{session}/status"), on(AnnotationWrite, DATASET), NotAvailable),
    row("56", Get, dataset!("/annotationImportSessions/{session}/filesSample"), on(DatasetRead, DATASET), NotAvailable),
    row("57", Get, dataset!("/annotationImportSessions/{session}/logs"), on(DatasetRead, DATASET), NotAvailable),
    row("58", Get, dataset!("/folders"), on(DatasetRead, DATASET), NotAvailable),
    row("59", Delete, dataset!("/folders"), on(DatasetWrite, DATASET), NotAvailable),
    row("60", Get, dataset!("/folders/{folder}"), on(DatasetRead, DATASET), NotAvailable),
    row("61", Put, dataset!("/folders/{folder}"), on(DatasetWrite, DATASET), NotAvailable),
    row("62", Delete, dataset!("/folders/{folder}"), on(DatasetWrite, DATASET), NotAvailable),
    row("63", Get, dataset!("/folders/{folder}/children"), on(DatasetRead, DATASET), NotAvailable),
    row("63b", Get, dataset!("/folders/children"), on(DatasetRead, DATASET), NotAvailable),
    row("64", Get, dataset!("/ontologies"), on(DatasetRead, DATASET), NotAvailable),
    row("65", Get, dataset!("/ontologies/{ontology}"), on(DatasetRead, DATASET), NotAvailable),
    row("66", Put, dataset!("/ontologies/{ontology}"), on(DatasetWrite, DATASET), NotAvailable),
    row("67", Patch, dataset!("/ontologies/{ontology}"), on(DatasetWrite, DATASET), NotAvailable),
    row("68", Post, dataset!("/ontologies/{ontology}/versions"), on(DatasetWrite, DATASET), NotAvailable),
    row("69", Post, dataset!("/intelliscribe/generations"), on(AnnotationWrite, DATASET), NotAvailable),
    row("70", Get, organization!("/trainingProjects"), on(TrainingRead, Collection(TrainingProject)), NotAvailable),
    row("71", Get, organization!("/trainingProjects/{training_project}"), on(TrainingRead, TRAINING_PROJECT), NotAvailable),
    row("72", Put, organization!("/trainingProjects/{training_project}"), on(TrainingWrite, New(TrainingProject)), NotAvailable),
    row("73", Patch, organization!("/trainingProjects/{training_project}"), on(TrainingWrite, TRAINING_PROJECT), NotAvailable),
    row("74", Delete, organization!("/trainingProjects/{training_project}"), on(TrainingDelete, TRAINING_PROJECT), NotAvailable),
    row("75", Get, organization!("/trainingProjects/{training_project}/aggregationInsights"), on(TrainingRead, TRAINING_PROJECT), NotAvailable),
    row("76", Post, organization!("/trainingProjects/{training_project}/aggregationInsights:generate"), on(TrainingWrite, TRAINING_PROJECT), NotAvailable),
    row("77", Post, "/dryRuns/workspaces/{organization}/trainingProjects", on(TrainingRead, Collection(TrainingProject)), NotAvailable),
    row("78", Get, organization!("/flows"), on(TrainingRead, Collection(Flow)), NotAvailable),
    row("79", Get, organization!("/simpleFlows"), on(TrainingRead, Collection(Flow)), NotAvailable),
    row("80", Get, organization!("/flows/{flow}"), on(TrainingRead, FLOW), NotAvailable),
    row("81", Put, organization!("/flows/{flow}"), on(TrainingWrite, FLOW), NotAvailable),
    row("82", Patch, organization!("/flows/{flow}"), on(TrainingWrite, FLOW), NotAvailable),
    row("83", Delete, organization!("/flows/{flow}"), on(TrainingDelete, FLOW), NotAvailable),
    row("84", Get, organization!("/flows/{flow}/aggregationStatistics"), on(TrainingRead, FLOW), NotAvailable),
    row("85", Post, organization!("/flows/{flow}/aggregationStatistics:generate"), on(TrainingWrite, FLOW), NotAvailable),
    row("86", Get, organization!("/flows/{flow}/accelerators"), on(TrainingRead, FLOW), NotAvailable),
    row("87", Post, organization!("/flows/{flow}/accelerators"), on(TrainingRead, FLOW), NotAvailable),
    row("88", Get, organization!("/runs"), on(TrainingRead, Collection(Run)), NotAvailable),
    row("89", Get, organization!("/simpleRuns"), on(TrainingRead, Collection(Run)), NotAvailable),
    row("90", Get, organization!("/runs/{run}"), on(TrainingRead, RUN), NotAvailable),
    row("91", Put, organization!("/runs/{run}"), on(TrainingWrite, RUN), NotAvailable),
    row("92", Patch, organization!("/runs/{run}"), on(TrainingWrite, RUN), NotAvailable),
    row("93", Delete, organization!("/runs/{run}"), on(TrainingDelete, RUN), NotAvailable),
    row("94", Get, organization!("/runs/{run}/logs"), on(TrainingRead, RUN), NotAvailable),
    row("95", Get, organization!("/runs/{run}/outputs"), OUTPUTS, NotAvailable),
    row("96", Get, organization!("/runs/{run}/outputs/{checkpoint}"), OUTPUTS, NotAvailable),
    row("97", Get, organization!("/deployments"), on(DeploymentRead, Collection(Deployment)), NotAvailable),
    row("98", Get, organization!("/deployments/{deployment}"), on(DeploymentRead, DEPLOYMENT), NotAvailable),
    row("99", Put, organization!("/deployments/{deployment}"), on(DeploymentWrite, DEPLOYMENT), NotAvailable),
    row("100", Patch, organization!("/deployments/{deployment}"), on(DeploymentWrite, DEPLOYMENT), NotAvailable),
    row("101", Delete, organization!("/deployments/{deployment}"), on(DeploymentDelete, DEPLOYMENT), NotAvailable),
    row("102", Get, organization!("/deployments/{deployment}/statistics"), on(DeploymentRead, DEPLOYMENT), NotAvailable),
    row("103", Get, organization!("/deploymentStatistics"), on(DeploymentRead, Collection(Deployment)), NotAvailable),
    row("104", Get, organization!("/deploymentProjects"), on(DeploymentRead, Collection(DeploymentProject)), NotAvailable),
    row("105", Get, organization!("/deploymentProjects/{deployment_project}"), on(DeploymentRead, DEPLOYMENT_PROJECT), NotAvailable),
    row("106", Put, organization!("/deploymentProjects/{deployment_project}"), on(DeploymentWrite, DEPLOYMENT_PROJECT), NotAvailable),
    row("107", Patch, organization!("/deploymentProjects/{deployment_project}"), on(DeploymentWrite, DEPLOYMENT_PROJECT), NotAvailable),
    row("108", Delete, organization!("/deploymentProjects/{deployment_project}"), on(DeploymentDelete, DEPLOYMENT_PROJECT), NotAvailable),
    row("109", Get, organization!("/deploymentProjects/{deployment_project}/knowledgeBase"), on(DeploymentRead, DEPLOYMENT_PROJECT), NotAvailable),
    row("110", Get, organization!("/deploymentEndpoints"), on(DeploymentRead, Collection(DeploymentEndpoint)), NotAvailable),
    row("111", Get, organization!("/deploymentEndpoints/{deployment_endpoint}"), on(DeploymentRead, DEPLOYMENT_ENDPOINT), NotAvailable),
    row("112", Put, organization!("/deploymentEndpoints/{deployment_endpoint}"), on(DeploymentWrite, DEPLOYMENT_ENDPOINT), NotAvailable),
    row("113", Patch, organization!("/deploymentEndpoints/{deployment_endpoint}"), on(DeploymentWrite, DEPLOYMENT_ENDPOINT), NotAvailable),
    row("114", Delete, organization!("/deploymentEndpoints/{deployment_endpoint}"), on(DeploymentDelete, DEPLOYMENT_ENDPOINT), NotAvailable),
];

/// The folder that is called `children`: 63b has its address, which takes it away from 60 to 62. The methods that 63b
/// has no use for are theirs again here.
#[rustfmt::skip]
pub static FOLDER_CALLED_CHILDREN: [Endpoint; 2] = [
    row("61", Put, dataset!("/folders/children"), on(DatasetWrite, DATASET), NotAvailable),
    row("62", Delete, dataset!("/folders/children"), on(DatasetWrite, DATASET), NotAvailable),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_endpoint_is_there_once() {
        let addresses: HashSet<_> = ENDPOINTS.iter().map(|row| (row.verb, row.path)).collect();
        assert_eq!(addresses.len(), 115);
        let numbers: HashSet<_> = ENDPOINTS.iter().map(|row| row.number).collect();
        let expected = (1..=114).map(|number: u8| number.to_string());
        let expected: HashSet<_> = expected.chain(["63b".to_owned()]).collect();
        assert_eq!(numbers, expected.iter().map(String::as_str).collect());
    }

    #[test]
    fn each_part_of_the_platform_has_its_endpoints() {
        let counted = |from: usize, to: usize| {
            let numbers = ENDPOINTS
                .iter()
                .map(|row| row.number.trim_end_matches('b').parse::<usize>().unwrap());
            numbers.filter(|number| (from..=to).contains(number)).count()
        };
        let counts = [counted(1, 8), counted(9, 69), counted(70, 96), counted(97, 114)];
        assert_eq!(
            counts,
            [8, 62, 27, 18],
            "organization, dataset, training, deployment"
        );
    }

    #[test]
    fn a_path_names_the_organization_that_it_is_about() {
        let without: Vec<_> = ENDPOINTS
            .iter()
            .filter(|row| !row.path.contains("/workspaces/{organization}"))
            .map(|row| row.number)
            .collect();
        assert_eq!(without, ["1", "7", "8"]);
        for row in &ENDPOINTS {
            if let Item(_, parameter) = row.guard.resource {
                assert!(row.path.contains(&format!("{{{parameter}}}")), "{row:?}");
            }
            if row.guard.resource == ResourceOf::Dataset {
                assert!(row.path.contains("{dataset}"), "{row:?}");
            }
        }
    }
}
