//! Asking for the names and owners of images (DescribeImages), many at a time.

use std::collections::BTreeMap;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::Filter;

use crate::aws::credentials::Session;
use crate::aws::failure;
use crate::domain::image::Image;
use crate::error::Result;

/// Values that one filter takes at most.
const BATCH: usize = 200;

/// The images of these ids that there are. By filter and not by id: one id that is gone fails a request by ids.
///
/// # Errors
///
/// In the words of [`failure::explain`].
pub async fn of_ids(session: &Session, ids: &[String]) -> Result<BTreeMap<String, Image>> {
    let client = Client::new(&session.config);
    let mut found = BTreeMap::new();
    for batch in ids.chunks(BATCH) {
        let filter = Filter::builder().name("image-id").set_values(Some(batch.to_vec())).build();
        let answer = client
            .describe_images()
            .filters(filter)
            .include_deprecated(true)
            .send()
            .await
            .map_err(|error| failure::explain("ec2:DescribeImages", "*", session, &error).error)?;
        for image in answer.images.unwrap_or_default() {
            let owner = image.owner_id.or(image.image_owner_alias).unwrap_or_default();
            let known = Image { name: image.name.unwrap_or_default(), owner };
            found.insert(image.image_id.unwrap_or_default(), known);
        }
    }
    Ok(found)
}
