"""Amazon Bedrock through boto3."""
